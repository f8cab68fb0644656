"""Puts .pth files together by hand, such as PyTorch would never write."""

import io
import pickle
import struct
import zipfile

import numpy as np

NUMBERS = np.arange(6, dtype=np.float32).tobytes()
MAGIC = 0x1950A86A20F9469CFC6C
BUILDER = b"ctorch._utils\n_rebuild_tensor_v2\n"


def plain(value) -> bytes:
    """Opcodes that push a plain value: a pickle without its frame."""
    return pickle.dumps(value, 2)[2:-1]


def storage(key="0", size=6, kind="FloatStorage", more=b"") -> bytes:
    name = b"ctorch\n%s\n" % kind.encode()
    end = plain(key) + plain("cpu") + plain(size) + more
    return b"(" + plain("storage") + name + end + b"tQ"


def tensor(store=None, offset=0, shape=(2, 3), strides=(3, 1)) -> bytes:
    view = plain(offset) + plain(shape) + plain(strides)
    store = storage() if store is None else store
    return BUILDER + b"(" + store + view + b"\x89" + plain({}) + b"tR"


def state(**tensors: bytes) -> bytes:
    items = b"".join(plain(name) + code for name, code in tensors.items())
    return b"\x80\x02}(" + items + b"u."


SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}


def as_legacy(
    body: bytes, keys=("0",), numbers=NUMBERS, count=6, version=1001, system=SYSTEM
) -> bytes:
    heads = b"".join(pickle.dumps(v, 2) for v in (MAGIC, version, system))
    tail = b"".join(struct.pack("<q", count) + numbers for _ in keys)
    return heads + body + pickle.dumps(list(keys), 2) + tail


def as_zip(body: bytes, keys=("0",), numbers=NUMBERS, **more) -> bytes:
    entries = {"data.pkl": body, **{f"data/{key}": numbers for key in keys}, **more}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"root/{name}", content)
    return file.getvalue()
