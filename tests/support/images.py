"""Image files made in memory: good ones with their pixels, bad ones with the reason."""

import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 1_000_000
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


class Case(NamedTuple):
    """A file, and what must come of it: an array, or a part of BadImage's message."""

    name: str
    data: bytes
    want: np.ndarray | str
    # Damage within a JPEG's scan, of which Pillow says nothing.
    in_scan: bool = False


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture with an edge, and no symmetry."""
    cells = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    smooth = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.array(smooth)
    pixels[: height // 3, : width // 2, 0] //= 2
    return pixels


def textured(height: int, width: int) -> np.ndarray:
    """A picture with detail down to the pixel."""
    noise = np.random.default_rng(3).integers(-30, 31, (height, width, 3))
    return (photo(height, width) + noise).clip(0, 255).astype(np.uint8)


def pillow_bytes(pixels: np.ndarray | Image.Image, kind: str = "JPEG", **how) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def plain_pillow(data: bytes) -> np.ndarray:
    """What everybody's two lines of Pillow give."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """As a camera stores an upright picture when it writes this orientation."""
    stored = {
        **{1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1]},
        **{5: np.rot90(pixels[:, ::-1]), 6: np.rot90(pixels)},
        **{7: np.rot90(pixels[::-1]), 8: np.rot90(pixels, -1)},
    }
    return np.ascontiguousarray(stored[orientation])


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    )


def png(
    rows: np.ndarray | bytes,
    size: tuple[int, int],
    bits: int = 8,
    colour: int = 2,
    *,
    extra: bytes = b"",
    interlace: int = 0,
    pieces: int = 1,
) -> bytes:
    """A PNG from bytes of rows, each of which gets the filter that does nothing."""
    if not isinstance(rows, bytes):
        rows = b"".join(b"\0" + row.tobytes() for row in rows)
    width, height = size
    packed = zlib.compress(rows)
    step = -(-len(packed) // pieces)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    parts = [packed[i : i + step] for i in range(0, len(packed), step)]
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra,
            *(chunk(b"IDAT", part) for part in parts),
            chunk(b"IEND", b""),
        )
    )


def adam7(pixels: np.ndarray) -> bytes:
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4))
    passes += ((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = [pixels[top::down, left::right] for top, left, down, right in passes]
    rows = (b"\0" + row.tobytes() for part in parts if part.size for row in part)
    return b"".join(rows)


def bomb(name: bytes) -> bytes:
    """A chunk that unpacks to 200 MB."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(10**6)) for _ in range(200)]
    return chunk(name, b"x\0\0" + b"".join(parts) + packer.flush())


def bmp(size: tuple[int, int], bits: int, body: bytes, packing: int = 0) -> bytes:
    """A BMP of 40 bytes of header, with 256 greys where it has a palette."""
    palette = b"".join(bytes((i, i, i, 0)) for i in range(256)) if bits == 8 else b""
    start = 54 + len(palette)
    head = struct.pack("<IHHI", start + len(body), 0, 0, start)
    info = (40, *size, 1, bits, packing, len(body), 0, 0, len(palette) // 4, 0)
    return b"BM" + head + struct.pack("<IiiHHIIiiII", *info) + palette + body


def frame(data: bytes) -> int:
    """Where a JPEG's frame starts."""
    found = (data.find(bytes((0xFF, marker))) for marker in (0xC0, 0xC1, 0xC2))
    return max(found)


def patched(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def sized(data: bytes, height: int, width: int) -> bytes:
    """A JPEG whose header states another size."""
    return patched(data, frame(data) + 5, struct.pack(">HH", height, width))


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with a segment more, at its start."""
    length = struct.pack(">H", len(content) + 2)
    return data[:2] + bytes((0xFF, marker)) + length + content + data[2:]


def scans(data: bytes) -> list[int]:
    """Where a JPEG's scans start."""
    places, place = [], data.find(b"\xff\xda")
    while place >= 0:
        places.append(place)
        place = data.find(b"\xff\xda", place + 2)
    return places


PHOTO = photo(61, 83)
GREY = PHOTO[..., 1]
JPEG = pillow_bytes(PHOTO, quality=90)
PROGRESSIVE = pillow_bytes(PHOTO, quality=90, progressive=True)
PNG = png(PHOTO, (83, 61))
WEBP = pillow_bytes(PHOTO, "WEBP", quality=90)
BMP = pillow_bytes(PHOTO, "BMP")
MIDDLE = (scans(JPEG)[0] + len(JPEG)) // 2
