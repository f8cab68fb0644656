"""Files of `torch.save`, of any pickle protocol: Python's own pickle writes them.

PyTorch's functions are named in such a file, and Python looks them up when it writes:
empty ones stand in for them meanwhile.
"""

import io
import pickle
import sys
import types
from collections import OrderedDict
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from interop.forge import MAGIC, SYSTEM, as_zip

TYPES = {"float32": "FloatStorage", "int64": "LongStorage", "uint8": "ByteStorage"}


class Storage(NamedTuple):
    key: str
    array: np.ndarray


class Tensor:
    """Pickles as PyTorch's tensors do."""

    def __init__(self, storage: Storage):
        self.storage = storage

    def __reduce_ex__(self, protocol):
        array = self.storage.array
        strides = tuple(s // array.itemsize for s in array.strides)
        view = (self.storage, 0, array.shape, strides, False, OrderedDict())
        return sys.modules["torch._utils"]._rebuild_tensor_v2, view


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            kind = getattr(sys.modules["torch"], TYPES[obj.array.dtype.name])
            return "storage", kind, obj.key, "cpu", obj.array.size
        return None


def torch_file(value: Any, protocol: int = 2, form: str = "zip") -> bytes:
    """What `torch.save(value, pickle_protocol=protocol)` writes.

    NumPy's arrays in dictionaries stand for tensors.
    """
    storages: list[Storage] = []
    value = _with_tensors(value, storages)
    body = _pickled(value, protocol)
    keys = [storage.key for storage in storages]
    numbers = {key: s.array.tobytes() for key, s in zip(keys, storages, strict=True)}
    if form == "zip":
        more = {f"data/{key}": content for key, content in numbers.items()}
        return as_zip(body, keys=(), **more)
    heads = b"".join(pickle.dumps(v, protocol) for v in (MAGIC, 1001, SYSTEM))
    tails = (s.array.size.to_bytes(8, "little") + numbers[s.key] for s in storages)
    return heads + body + pickle.dumps(keys, protocol) + b"".join(tails)


def _with_tensors(value: Any, storages: list[Storage]) -> Any:
    if isinstance(value, np.ndarray):
        storages.append(Storage(str(len(storages)), np.array(value, order="C")))
        return Tensor(storages[-1])
    if type(value) in (dict, OrderedDict):
        kept = ((name, _with_tensors(v, storages)) for name, v in value.items())
        return type(value)(kept)
    return value


def _pickled(value: Any, protocol: int) -> bytes:
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in TYPES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def rebuild(): ...

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    rebuild.__name__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = rebuild
    file = io.BytesIO()
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        _Pickler(file, protocol).dump(value)
    return file.getvalue()
