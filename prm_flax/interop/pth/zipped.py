"""The zip format, PyTorch's since version 1.6.

ROOT/data.pkl describes the tensors, ROOT/data/KEY holds the numbers of a storage, all
without compression; ROOT/byteorder may say "little" or "big".
"""

import io
import struct
import zipfile

from prm_flax.interop.pth.archive import Archive, expect_size, require_little_endian
from prm_flax.interop.pth.opcodes import load
from prm_flax.interop.pth.records import Storage

ZIP_MAGIC = b"PK\x03\x04"

_ZIP_DAMAGE = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    UnicodeDecodeError,
    struct.error,
)


def open_zip(data: bytes) -> Archive:
    """Reads the pickle of a file in the zip format.

    Args:
        data: the file.

    Raises:
        ValueError: the archive or its pickle is damaged.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        _check_entries(archive.infolist(), len(data))
        names = archive.namelist()
        roots = [n[:-9] for n in names if n.endswith("/data.pkl") and n.count("/") == 1]
        if len(roots) != 1:
            raise ValueError("a zip file of torch.save has one ROOT/data.pkl.")
        if f"{roots[0]}/byteorder" in names:
            require_little_endian(archive.read(f"{roots[0]}/byteorder") == b"little")
        value = load(archive.read(f"{roots[0]}/data.pkl")).value
    except _ZIP_DAMAGE as error:
        raise _zip_damage(error) from error

    def read(storage: Storage) -> bytes:
        try:
            info = archive.getinfo(f"{roots[0]}/data/{storage.key}")
            expect_size(storage, info.file_size)
            return archive.read(info)
        except _ZIP_DAMAGE as error:
            raise _zip_damage(error) from error

    return Archive(value, read)


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    # Stored, and together no larger than the file: no entry can swell when it is read.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its entries are compressed, which torch.save never does.")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError(f"its entries claim more bytes than the file's {size}.")


def _zip_damage(error: Exception) -> ValueError:
    return ValueError(f"the zip archive is damaged or cut off: {error}.")
