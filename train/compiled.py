"""Compiled programs outlive the process: the next start finds them."""

import os
from pathlib import Path

import jax

FOLDER = Path(
    os.environ.get("PRM_CACHE_DIR") or Path(__file__).resolve().parents[1] / "data",
    "compiled",
)


def keep_compiled_programs() -> None:
    """Turns jax's persistent cache on, unless the environment names or forbids one.

    JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=0 turns
    it off.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(FOLDER))
