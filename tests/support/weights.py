"""Files of weights as people have them: ours, and PyTorch's, written without it."""

from pathlib import Path

import jax
import numpy as np
from interop.forge import as_zip, state, storage, tensor
from interop.support import trained

from prm_flax import create_model
from prm_flax.interop import safetensors
from prm_flax.interop.torch import to_state_dict


def write_weights(path: Path, name: str, channels: int, **options):
    """Some weights of a network in a file, of the kind that its ending says."""
    model = create_model(name, **options)
    variables = jax.tree.map(np.float32, trained(model, channels))
    if path.suffix == ".safetensors":
        safetensors.save(path, name, options, variables)
    else:
        path.write_bytes(pth(to_state_dict(model, variables, counters=True)))
    return variables


def pth(arrays: dict[str, np.ndarray]) -> bytes:
    """A state dict as `torch.save` writes it, in the zip format."""
    kinds = {"float32": "FloatStorage", "int64": "LongStorage"}
    tensors, numbers = {}, {}
    for i, (name, array) in enumerate(arrays.items()):
        store = storage(str(i), max(array.size, 1), kinds[array.dtype.name])
        strides = tuple(s // array.itemsize for s in array.strides)
        tensors[name] = tensor(store, 0, array.shape, strides)
        numbers[f"data/{i}"] = array.tobytes()
    return as_zip(state(**tensors), keys=(), **numbers)
