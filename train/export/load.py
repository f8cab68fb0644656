"""Runs an exported network: load(FOLDER). Needs jax and flatbuffers, nothing else."""

import json
from pathlib import Path

import jax
import jax.export


def load(folder):
    """A function, uint8 images (b, h, w, c) -> logits (b, k), and its description."""
    folder = Path(folder)
    exported = jax.export.deserialize(
        bytearray((folder / "model.stablehlo").read_bytes())
    )
    return jax.jit(exported.call), json.loads((folder / "export.json").read_text())
