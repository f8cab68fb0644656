"""Where the tests keep what XLA compiled, from one run to the next."""

import hashlib
import importlib.metadata
import platform
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2] / "build/test-cache"
MOST_BYTES = 3 << 30


def _processor() -> str:
    """What programs may use of this machine: its processor's features, if told."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    # "flags" on x86, "Features" on ARM.
    return next((line for line in lines if line.startswith(("flags", "Feat"))), "")


def _machine() -> str:
    """A name for all that makes a program another one or unfit to run."""
    parts = platform.machine(), _processor(), importlib.metadata.version("jaxlib")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


# jax's key of a program knows its compiler, not the machine that it was compiled for.
FOLDER = ROOT / _machine()


def make_room(root: Path = ROOT, most: int = MOST_BYTES) -> None:
    """Begins anew where the programs of old code have become too many.

    Not `jax_compilation_cache_max_size`: with it jax looks at every file whenever it
    adds one.
    """
    if sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) > most:
        shutil.rmtree(root)
