"""Weights to share: one safetensors file that also says which model they are for.

Tensors are named by path, such as "params/layer1_0/conv1/kernel"; `metadata.py` has the
rest. `load` needs nothing but the file. Files of other programs have PyTorch's names:
`read_tensors` gives what `from_state_dict` takes.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from prm_flax.interop import metadata as described
from prm_flax.interop.metadata import FORMAT, UNKNOWN, build, create, describe
from prm_flax.interop.metadata import About as About
from prm_flax.interop.metadata import Preprocessing as Preprocessing
from prm_flax.interop.shapes import flatten, require_fit, unflatten

# Names the format gives to dtypes; any other name is no dtype of a weight.
STORED = MappingProxyType(
    {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16}
)


def save(
    path: str | os.PathLike[str],
    model_name: str,
    options: Mapping[str, Any],
    variables: Mapping[str, Any],
    about: About = UNKNOWN,
) -> None:
    """Writes a model's weights; the file is complete, or not there at all.

    Args:
        path: of the file, conventionally NAME.safetensors. An old one is replaced.
        model_name: as for `create_model` or `create_detector`.
        options: its keywords, num_classes among them: text, numbers, None and dtypes.
        variables: the model's "params" and "batch_stats".
        about: the names of its classes and what is done with its images, see
            `read_about`.

    Raises:
        ValueError: before anything is written: an option that cannot be stored, or
            variables that are not the model's; and `create_model`'s own errors.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile, jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> from prm_flax.interop import safetensors
        >>> options = {"num_classes": 10, "stem": "3x3_stride2"}
        >>> model = create_model("resnet14", **options)
        >>> variables = model.init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/weights.safetensors"
        ...     safetensors.save(path, "resnet14", options, variables)
        ...     again, loaded = safetensors.load(path)
        >>> again == model
        True

    Reference: https://huggingface.co/docs/safetensors.
    """
    metadata = describe(model_name, options, about)
    leaves = flatten(variables)
    require_fit(create(model_name, options), leaves, "the variables")
    tensors = {"/".join(p): np.asarray(leaf, order="C") for p, leaf in leaves.items()}
    _write(Path(path), _ordered(to_bytes(tensors, metadata)))


def load(path: str | os.PathLike[str]) -> tuple[nn.Module, dict[str, Any]]:
    """Reads a model and its weights.

    Args:
        path: of a file that `save` wrote.

    Returns:
        The model and {"params": …, "batch_stats": …}, of the dtypes in the file
        (float64 becomes float32 unless jax's x64 is on).

    Raises:
        ValueError: the file is damaged, of another program or format version, or its
            tensors are not the model's; and `create_model`'s own errors.
        OSError: the file cannot be read.

    Example: see `save`.
    """
    place = os.fspath(path)
    with _opened(place) as file:
        model = build(file.metadata() or {}, place)
        shapes = {tuple(name.split("/")): _shape(file, name) for name in file.keys()}
        require_fit(model, shapes, f"the tensors of {place}")
        leaves = {p: jnp.array(file.get_tensor("/".join(p))) for p in shapes}
    return model, unflatten(leaves)


def is_own(path: str | os.PathLike[str]) -> bool:
    """Whether a safetensors file is one of `save`, which says itself what it is of.

    Raises:
        ValueError: the file is damaged, or no safetensors file.
        OSError: the file cannot be read.
    """
    with _opened(os.fspath(path)) as file:
        return (file.metadata() or {}).get("format") == FORMAT


def read_tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the arrays of any safetensors file, by the names that are in it.

    Args:
        path: of a file such as torchvision's or timm's weights are shared in.

    Raises:
        ValueError: the file is damaged, or has a tensor that NumPy cannot hold.
        OSError: the file cannot be read.

    Example:
        >>> from prm_flax import create_model
        >>> from prm_flax.interop import safetensors
        >>> from prm_flax.interop.torch import from_state_dict
        >>> def load_timm(path):
        ...     arrays = safetensors.read_tensors(path)
        ...     return from_state_dict(create_model("mobilenet_v2"), arrays)
    """
    place = os.fspath(path)
    with _opened(place) as file:
        try:
            return {name: file.get_tensor(name) for name in file.keys()}
        except AttributeError as error:  # the library asks NumPy for its float8
            raise ValueError(
                f"{place} has a tensor of a dtype that NumPy lacks: {error}. Save it "
                "as float32 or bfloat16."
            ) from error


@contextlib.contextmanager
def _opened(place: str) -> Iterator[Any]:
    """The open file; the library's errors in this one's words."""
    try:
        with safe_open(place, framework="np") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(
            f"{place} must be a complete safetensors file: {error}. Copy it again."
        ) from error


def read_about(path: str | os.PathLike[str]) -> About:
    """What a file says of a network's inputs and outputs.

    Args:
        path: of a file that `save` wrote.

    Returns:
        The names of the classes and the preprocessing, as far as they are known.

    Raises:
        ValueError: the file is damaged.
        OSError: the file cannot be read.
    """
    place = os.fspath(path)
    with _opened(place) as file:
        return described.read_about(file.metadata() or {}, place)


def _shape(file: Any, name: str) -> jax.ShapeDtypeStruct:
    tensor = file.get_slice(name)
    dtype = STORED.get(tensor.get_dtype(), np.bool_)
    return jax.ShapeDtypeStruct(tuple(tensor.get_shape()), dtype)


def _ordered(data: bytes) -> bytes:
    """The same file with its metadata sorted: equal weights give equal bytes.

    The library writes the metadata in an order that changes from call to call. A file
    is the header's length (8 bytes), the header (JSON, padded to 8 bytes), the arrays.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the folder's entry too, where a folder can be opened
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
