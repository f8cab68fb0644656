"""The legacy format, PyTorch's until version 1.5.

Pickles of a magic number, the format's version, facts of the machine, the object and
the storages' keys; then for each key a count (8 bytes) and as many numbers.
"""

import functools
import pickle
import struct
from typing import Any

from prm_flax.interop.pth.archive import Archive, expect_size, require_little_endian
from prm_flax.interop.pth.machine import PROTOCOLS
from prm_flax.interop.pth.opcodes import load
from prm_flax.interop.pth.records import Storage

MAGIC = 0x1950A86A20F9469CFC6C
# Pickles of it: what a file begins with.
LEGACY_MAGICS = tuple(pickle.dumps(MAGIC, protocol) for protocol in PROTOCOLS)
LEGACY_VERSION = 1001


def open_legacy(data: bytes) -> Archive:
    """Reads the pickles of a file in the legacy format, and finds its storages.

    Args:
        data: the file.

    Raises:
        ValueError: a pickle is damaged; when storages are read: one is cut off.
    """
    version = load(data, load(data).end)
    if version.value != LEGACY_VERSION:
        raise ValueError(f"the legacy format of version {LEGACY_VERSION} is read.")
    machine = load(data, version.end)
    if type(machine.value) is not dict:
        raise ValueError("it does not say what kind of machine wrote it.")
    require_little_endian(machine.value.get("little_endian") is True)
    saved = load(data, machine.end)
    keys = load(data, saved.end)

    @functools.cache
    def found() -> dict[str, memoryview]:
        return _find_storages(data, keys.end, keys.value, saved.storages)

    def read(storage: Storage) -> memoryview:
        if storage.key not in found():
            raise ValueError(f"the file lacks storage {storage.key[:100]!r}.")
        return found()[storage.key]

    return Archive(saved.value, read)


def _find_storages(
    data: bytes, position: int, keys: Any, known: dict[str, Storage]
) -> dict[str, memoryview]:
    if type(keys) is not list or not all(type(k) is str and k in known for k in keys):
        raise ValueError("its list of storages does not fit its tensors.")
    found: dict[str, memoryview] = {}
    for key in keys:
        if position + 8 > len(data):
            raise ValueError(f"it is cut off before storage {key[:100]!r}.")
        (count,) = struct.unpack_from("<q", data, position)
        start = position + 8
        stop = start + count * known[key].dtype.itemsize
        if count < 0 or stop > len(data):
            claim = f"storage {key[:100]!r} claims {count} numbers"
            raise ValueError(f"{claim}, the file ends after {len(data) - start} bytes.")
        expect_size(known[key], stop - start)
        found[key] = memoryview(data)[start:stop]
        position = stop
    return found
