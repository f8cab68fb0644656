"""Runs an exported network: load(FOLDER). Needs jax and flatbuffers, nothing else."""

import json
from pathlib import Path

import jax
import jax.export


def load(folder):
    """What the network says of uint8 images (b, h, w, c), and the description of it.

    A classifier's logits (b, k); a detector also takes the images' sizes (b, 2), see
    export.json.
    """
    folder = Path(folder)
    exported = jax.export.deserialize(
        bytearray((folder / "model.stablehlo").read_bytes())
    )
    return jax.jit(exported.call), json.loads((folder / "export.json").read_text())
