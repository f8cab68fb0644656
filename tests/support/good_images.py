"""Kinds of image files that must be decoded, with their pixels."""

import numpy as np
import simplejpeg
from PIL import Image
from support.images import (
    BMP,
    GREY,
    JPEG,
    PHOTO,
    PNG,
    PROGRESSIVE,
    WEBP,
    Case,
    adam7,
    bmp,
    bomb,
    chunk,
    exif,
    frame,
    photo,
    pillow_bytes,
    plain_pillow,
    png,
    with_segment,
)


def _three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def _like_pillow(name: str, data: bytes) -> Case:
    return Case(name, data, plain_pillow(data))


def _jpegs() -> list[Case]:
    files = {
        f"jpeg {sampling}": simplejpeg.encode_jpeg(PHOTO, colorsubsampling=sampling)
        for sampling in ("444", "422", "420", "440", "411", "Gray")
    }
    files |= {
        f"jpeg of {width} x {height}": pillow_bytes(photo(height, width))
        for height, width in ((1, 1), (1, 40), (40, 1), (16, 16), (17, 33), (8, 1000))
    }
    files |= {
        f"jpeg of orientation {number}": pillow_bytes(PHOTO, exif=exif(number))
        for number in range(1, 9)
    }
    picture = Image.fromarray(PHOTO)
    inks = pillow_bytes(picture.convert("CMYK"), quality=90)
    adobe = inks.find(b"Adobe")
    return [_like_pillow(*item) for item in files.items()] + [
        _like_pillow("jpeg grey", pillow_bytes(GREY)),
        _like_pillow("jpeg progressive", PROGRESSIVE),
        _like_pillow("jpeg progressive grey", pillow_bytes(GREY, progressive=True)),
        _like_pillow("jpeg of quality 5", pillow_bytes(PHOTO, quality=5)),
        _like_pillow("jpeg of quality 100", pillow_bytes(PHOTO, quality=100)),
        _like_pillow("jpeg optimised", pillow_bytes(PHOTO, optimize=True)),
        _like_pillow("jpeg stored as RGB", pillow_bytes(PHOTO, keep_rgb=True)),
        _like_pillow("jpeg with restarts", pillow_bytes(PHOTO, restart_marker_rows=1)),
        _like_pillow("jpeg of inks", inks),
        _like_pillow(
            "jpeg of inks as YCCK", inks[: adobe + 11] + b"\2" + inks[adobe + 12 :]
        ),
        _like_pillow("jpeg with profile", pillow_bytes(PHOTO, icc_profile=bytes(9999))),
        _like_pillow(
            "jpeg with comment", with_segment(JPEG, 0xFE, b"\xff\xda\xff\xd9")
        ),
        Case(
            "jpeg with broken exif",
            with_segment(JPEG, 0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
            plain_pillow(JPEG),
        ),
        Case(
            "jpeg with orientation 9",
            pillow_bytes(PHOTO, quality=90, exif=exif(9)),
            plain_pillow(JPEG),
        ),
        Case(
            "jpeg with fill bytes",
            JPEG[:2] + b"\xff\xff" + JPEG[2:],
            plain_pillow(JPEG),
        ),
        # As in films made of JPEGs: the tables are then the standard's.
        Case(
            "jpeg without tables",
            JPEG.replace(b"\xff\xc4", b"\xff\xfe"),
            plain_pillow(JPEG),
        ),
        Case("jpeg and more", JPEG + bytes(1000), plain_pillow(JPEG)),
        Case("jpeg, then html", JPEG + b"<html>", plain_pillow(JPEG)),
        _like_pillow(
            "jpeg of two pictures (MPO)",
            pillow_bytes(
                picture, "MPO", save_all=True, append_images=[picture.rotate(180)]
            ),
        ),
    ]


def _pngs() -> list[Case]:
    deep = (PHOTO.astype(np.uint16) * 256 + 37).astype(">u2")  # upper byte: PHOTO
    alpha = np.dstack([PHOTO, PHOTO[..., 0] // 2])
    size = (83, 61)
    few = pillow_bytes(Image.fromarray(PHOTO).quantize(200), "PNG")
    named = Image.fromarray(PHOTO).quantize(16)
    black = np.arange(61)[:, None] % 2 == np.arange(83) % 3
    nibbles = np.pad(GREY >> 4, ((0, 0), (0, 1)))
    pairs = np.pad(GREY >> 6, ((0, 0), (0, 1))).reshape(61, 21, 4)
    grey16 = deep[..., 1]
    return [
        Case("png", PNG, PHOTO),
        Case("png interlaced", png(adam7(PHOTO), size, interlace=1), PHOTO),
        Case("png of 1 x 1", png(PHOTO[:1, :1], (1, 1)), PHOTO[:1, :1]),
        Case("png interlaced of 2 x 3", png(adam7(PHOTO[:3, :2]), (2, 3), interlace=1),
             PHOTO[:3, :2]),
        Case("png grey", png(GREY, size, colour=0), _three(GREY)),
        Case("png black and white", png(np.packbits(black, axis=1), size, 1, 0),
             _three(black * np.uint8(255))),
        Case("png grey of 2 bits", png(np.packbits(
            np.unpackbits(pairs[..., None], axis=-1)[..., 6:].reshape(61, -1), axis=1),
            size, 2, 0), _three((GREY >> 6) * np.uint8(85))),
        Case("png grey of 4 bits", png(nibbles[:, ::2] << 4 | nibbles[:, 1::2], size, 4,
             0), _three((GREY >> 4) * np.uint8(17))),
        _like_pillow("png of 200 colours", few),
        _like_pillow("png of 16 colours", pillow_bytes(named, "PNG", bits=4)),
        Case("png of colours, some transparent",
             pillow_bytes(named, "PNG", transparency=bytes(range(0, 160, 10))),
             np.asarray(named.convert("RGB"))),
        Case("png with one transparent colour",
             png(PHOTO, size, extra=chunk(b"tRNS", bytes(6))), PHOTO),
        Case("png with alpha", png(alpha, size, colour=6), PHOTO),
        Case("png grey with alpha", png(alpha[..., 2:], size, colour=4),
             _three(PHOTO[..., 2])),
        Case("png grey of 16 bits", png(grey16, size, 16, 0), _three(GREY)),
        Case("png of 16 bits", png(deep, size, 16), PHOTO),
        Case("png of 16 bits with alpha", png(np.dstack([deep, grey16]).astype(">u2"),
             size, 16, 6), PHOTO),
        Case("png grey of 16 bits with alpha", png(deep[..., 1:], size, 16, 4),
             _three(GREY)),
        Case("png in pieces", png(PHOTO, size, pieces=50), PHOTO),
        Case("png and more", PNG + bytes(99), PHOTO),
        Case("png with a profile bomb", png(PHOTO, size, extra=bomb(b"iCCP")), PHOTO),
        Case("png with a text bomb", png(PHOTO, size, extra=bomb(b"zTXt")), PHOTO),
        _like_pillow("png of orientation 6",
                     pillow_bytes(PHOTO, "PNG", exif=exif(6))),
    ]  # fmt: skip


def _others() -> list[Case]:
    alpha = Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0] | 1]))
    rows = np.pad(GREY, ((0, 0), (0, 1))).tobytes()
    runs = b"".join(bytes((83, i, 0, 0)) for i in range(61)) + b"\0\1"
    lines = np.repeat(np.arange(61, dtype=np.uint8)[::-1, None], 83, axis=1)
    return [
        _like_pillow("webp", WEBP),
        Case("webp lossless", pillow_bytes(PHOTO, "WEBP", lossless=True), PHOTO),
        Case("webp lossless with alpha",
             pillow_bytes(alpha, "WEBP", lossless=True, exact=True), PHOTO),
        _like_pillow("webp with alpha", pillow_bytes(alpha, "WEBP")),
        _like_pillow("webp of orientation 8",
                     pillow_bytes(PHOTO, "WEBP", exif=exif(8))),
        Case("bmp", BMP, PHOTO),
        Case("bmp grey", bmp((83, 61), 8, rows), _three(GREY[::-1])),
        Case("bmp from top to bottom", bmp((83, -61), 8, rows), _three(GREY)),
        Case("bmp of runs", bmp((83, 61), 8, runs, 1), _three(lines)),
    ]  # fmt: skip


GOOD = _jpegs() + _pngs() + _others()

# The frame marker is what tells a reader the kind: this one must be a baseline's.
assert JPEG[frame(JPEG) + 1] == 0xC0
