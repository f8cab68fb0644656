"""What the bytes of a file are: by themselves, never by the file's name."""

from collections.abc import Callable

from train.data.images.containers import bmp_header, png_header, webp_header
from train.data.images.header import BadImage, Header
from train.data.images.jpeg import jpeg_header

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
