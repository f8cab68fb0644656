"""The headers of PNG, WEBP and BMP files.

PNG: ISO/IEC 15948. WEBP: RFC 9649. BMP: a length, then one of Microsoft's headers.
"""

import struct
import zlib
from collections.abc import Callable

from train.data.images.header import BadImage, Header
from train.data.images.jpeg import jpeg_header
from train.data.images.orientation import orientation_of

# The chunks that make colours: no transparency, and no profiles and texts, which may
# unpack to any size.
_PNG_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Adam7: first row, first column, step of rows, step of columns of each pass.
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)


def png_header(data: bytes) -> Header:
    """Read a PNG's chunks, each against its checksum.

    Args:
        data: the file, from its signature on.

    Returns:
        Size and orientation.

    Raises:
        BadImage: a chunk is damaged or cut off, or the picture is animated.
    """
    orientation, kept, place, name = 1, [slice(0, 8)], 8, b""
    while name != b"IEND":
        if len(data) < place + 12:
            raise BadImage(f"PNG that ends after {len(data)} bytes, without IEND")
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            raise BadImage(f"PNG that is cut off within its chunk {name!r}")
        if zlib.crc32(data[place + 4 : end - 4]) != _uint32(data, end - 4):
            raise BadImage(f"PNG with a wrong checksum in its chunk {name!r}")
        if place == 8 and (name, length) != (b"IHDR", 13):
            raise BadImage(f"PNG that starts with {name!r} in place of IHDR")
        if name == b"acTL":
            raise BadImage("animated PNG: one picture is expected")
        if name == b"eXIf":
            orientation = orientation_of(data[place + 8 : end - 4])
        if name in _PNG_PIXELS:
            kept.append(slice(place, end))
        place = end
    width, height = struct.unpack_from(">II", data, 16)
    return Header("PNG", height, width, orientation, tuple(kept))


def check_png_rows(data: bytes, header: Header) -> None:
    """Refuse a PNG that packs fewer rows than it states; the rest would be black.

    Args:
        data: the file.
        header: of it; its size was checked.

    Raises:
        BadImage: rows are missing or the packed data are damaged.
    """
    bits, colour, _, _, interlaced = data[24:29]
    bits *= _PNG_CHANNELS.get(colour, 1)
    expected = 0
    for top, left, down, right in _ADAM7 if interlaced else _WHOLE:
        rows = max(0, -(-(header.height - top) // down))
        columns = max(0, -(-(header.width - left) // right))
        expected += rows * (1 + -(-columns * bits // 8)) if columns else 0
    chunks = [data[part] for part in header.keep[1:]]
    packed = b"".join(chunk[8:-4] for chunk in chunks if chunk[4:8] == b"IDAT")
    # In pieces: of a bomb, as of a large picture, only the length is kept.
    got, unpacker = 0, zlib.decompressobj()
    for start in range(0, len(packed), 1 << 14):
        got += len(unpacker.decompress(packed[start : start + (1 << 14)]))
    if got < expected:
        raise BadImage(f"PNG of {expected:,} bytes of rows that packs only {got:,}")


def webp_header(data: bytes) -> Header:
    """Read a WEBP's first chunk, and its Exif chunk where there is one.

    Args:
        data: the file, from RIFF on.

    Returns:
        Size and orientation.

    Raises:
        BadImage: the file is cut or animated.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < max(30, end):
        raise BadImage(f"WEBP of {end:,} bytes that is cut off after {len(data):,}")
    name, orientation = data[12:16], 1
    if name == b"VP8X":
        if data[20] & 2:
            raise BadImage("animated WEBP: one picture is expected")
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        orientation = _webp_orientation(data, end)
    elif name == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    elif name == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise BadImage(f"WEBP that starts with {name!r} in place of a picture")
    return Header("WEBP", height, width, orientation, (slice(0, end),))


def bmp_header(data: bytes) -> Header:
    """Read a BMP's size.

    Args:
        data: the file, from BM on.

    Returns:
        Its size.

    Raises:
        BadImage: the header is cut or of an unknown length.
    """
    length = int.from_bytes(data[14:18], "little")
    if len(data) < 26 or length not in (12, 40, 52, 56, 64, 108, 124):
        raise BadImage(f"{len(data)} bytes starting with BM that are no BMP picture")
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", data, 18)
    return Header("BMP", abs(height), max(0, width), 1, (slice(None),))


def _webp_orientation(data: bytes, end: int) -> int:
    place = 12
    while place + 8 <= end:
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == b"EXIF":
            exif = data[place + 8 : place + 8 + length]
            return orientation_of(exif.removeprefix(b"Exif\0\0"))
        place += 8 + length + length % 2
    return 1


def _uint32(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "big")


_HEADERS: tuple[tuple[bytes, int, bytes, Callable[[bytes], Header]], ...] = (
    (b"\xff\xd8\xff", 0, b"", jpeg_header),
    (b"\x89PNG\r\n\x1a\n", 0, b"", png_header),
    (b"RIFF", 8, b"WEBP", webp_header),
    (b"BM", 0, b"", bmp_header),
)

# The usual things that lie in folders of pictures and are not read.
_STRANGERS = (
    (b"<", "a web page or other text"),
    (b"GIF8", "a GIF"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"\0\0\0\x0cJXL", "a JPEG XL"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"\0\0\0", "a HEIC, AVIF or film, or zeros,"),
    (b"%PDF", "a PDF"),
    (b"PK", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a pointer to a file in Git LFS"),
)


def read_header(data: bytes, max_pixels: int) -> Header:
    """Read what a file says of itself; nothing is decoded.

    Args:
        data: the file's content.
        max_pixels: the most pixels that it may state.

    Returns:
        Its header.

    Raises:
        BadImage: it is no picture that is read, or states no or too many pixels.
    """
    for magic, place, more, read in _HEADERS:
        if data.startswith(magic) and data.startswith(more, place):
            header = read(data)
            break
    else:
        raise BadImage(_stranger(data))
    height, width = header.height, header.width
    if not 1 <= height * width <= max_pixels:
        raise BadImage(
            f"{header.kind} of {width} x {height} = {width * height:,} pixels: there "
            f"must be 1 to {max_pixels:,} (raise max_pixels if the file can be trusted)"
        )
    return header


def _stranger(data: bytes) -> str:
    if not data:
        return "an empty file of 0 bytes: fetch it again"
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")  # a text's byte order mark and spaces
    known = (what for magic, what in _STRANGERS if start.startswith(magic))
    what = next(known, f"{len(data):,} bytes starting with {data[:8].hex(' ')}")
    return f"{what} in place of a JPEG, PNG, WEBP or BMP picture: fetch or convert it"
