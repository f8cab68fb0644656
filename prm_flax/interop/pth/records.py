"""What a weight file may hold besides plain values: storages and tensors, described.

The pickle in a file only describes its tensors; the numbers stand elsewhere in the
file. So reading the pickle gives these records, and `arrays.py` makes arrays of those
that are wanted, when every claim can be held against the bytes that are there.
"""

import dataclasses
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

MAX_DIMENSIONS = 16
MAX_COUNT = 2**63
# Integers below it hash to themselves; larger ones can be chosen to hash alike.
MAX_KEY = 2**60
# In the place of the entries whose keys are not hashed.
UNREAD = object()


class Global(NamedTuple):
    """The name of a Python object, for what it names or for what was made of that.

    Neither is ever looked for: the name is all that there is of it.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def is_number(self) -> bool:
        """Whether it is one of NumPy's numbers, which have no name of their own."""
        return str(self) in NUMPY_NUMBERS


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
    return type(value) is int and 0 <= value < MAX_COUNT


def add_item(target: Any, key: Any, value: Any) -> None:
    """Sets an entry of a dictionary if its key is a string or an integer.

    Other keys are never hashed, and their entries left out: nested tuples that share
    their parts take a few bytes to write and 2^n steps to hash.
    """
    if type(target) is not dict:
        raise TypeError("entries for something that is no dictionary")
    known = type(key) is str or (type(key) is int and abs(key) < MAX_KEY)
    target[key if known else UNREAD] = value if known else None


def _ordered_dict(items: Any = None) -> dict[Any, Any]:
    """A dictionary, of Python 2 with the list of its items.

    The list is emptied: named again and again, it would fill a dictionary each time.
    """
    result: dict[Any, Any] = {}
    if items is None:
        return result
    if type(items) is not list:
        raise TypeError("a dictionary is made of a list of its items")
    for key, value in items:
        add_item(result, key, value)
    items.clear()
    return result


def _default_dict(_factory: Any = None) -> dict[Any, Any]:
    return {}


def _tensor(storage, offset, shape, strides, *_gradient_and_hooks) -> Tensor:
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor, *_gradient_and_hooks) -> Tensor:
    if type(tensor) is not Tensor:
        raise TypeError("a parameter must be made of a tensor")
    return tensor


CALLS: MappingProxyType[str, Callable[..., Any]] = MappingProxyType(
    {
        "collections.OrderedDict": _ordered_dict,
        "collections.defaultdict": _default_dict,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
    }
)
NUMPY_NUMBERS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
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
