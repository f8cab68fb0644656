"""What a weight file may hold besides plain values: storages and tensors, described.

The pickle in a file only describes its tensors; the numbers stand elsewhere in the
file. So reading the pickle gives these records, and `arrays.py` makes arrays of those
that are wanted, when every claim can be held against the bytes that are there.
"""

import dataclasses
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np

MAX_DIMENSIONS = 16


@dataclasses.dataclass(frozen=True)
class Storage:
    """A run of `size` numbers, kept in the file under `key`. `size` is a claim."""

    key: str
    dtype: np.dtype
    size: int

    def __post_init__(self):
        if type(self.key) is not str or not _is_count(self.size):
            raise TypeError("a storage needs a string as its key, a count as its size")


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A strided view of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self):
        tuples = type(self.shape) is type(self.strides) is tuple
        if not tuples or len(self.shape) != len(self.strides):
            raise TypeError("a tensor needs as many strides as it has dimensions")
        if len(self.shape) > MAX_DIMENSIONS or type(self.storage) is not Storage:
            raise TypeError("a tensor needs a storage, and at most 16 dimensions")
        if not all(map(_is_count, (self.offset, *self.shape, *self.strides))):
            raise TypeError("offset, sizes and strides must be counts")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def add_item(target: Any, key: Any, value: Any) -> None:
    """Sets an entry of a dictionary, whose keys may be strings and integers only.

    Other keys are refused before they are hashed: nested tuples that share their parts
    take a few bytes to write and 2^n steps to hash.
    """
    if type(target) is not dict or type(key) not in (str, int):
        raise TypeError("dictionaries with strings or integers as keys are read")
    target[key] = value


def _ordered_dict(items: Any = ()) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in items:
        add_item(result, key, value)
    return result


def _tensor(storage, offset, shape, strides, *_gradient_and_hooks) -> Tensor:
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor, *_gradient_and_hooks) -> Tensor:
    if type(tensor) is not Tensor:
        raise TypeError("a parameter must be made of a tensor")
    return tensor


CALLS: MappingProxyType[str, Callable[..., Any]] = MappingProxyType(
    {
        "collections.OrderedDict": _ordered_dict,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
    }
)
DTYPES: MappingProxyType[str, np.dtype] = MappingProxyType(
    {
        "torch.DoubleStorage": np.dtype(np.float64),
        "torch.FloatStorage": np.dtype(np.float32),
        "torch.HalfStorage": np.dtype(np.float16),
        "torch.BFloat16Storage": np.dtype(jnp.bfloat16),
        "torch.LongStorage": np.dtype(np.int64),
        "torch.IntStorage": np.dtype(np.int32),
        "torch.ShortStorage": np.dtype(np.int16),
        "torch.CharStorage": np.dtype(np.int8),
        "torch.ByteStorage": np.dtype(np.uint8),
        "torch.BoolStorage": np.dtype(np.bool_),
    }
)
