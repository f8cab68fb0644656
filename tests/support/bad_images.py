"""Kinds of files that must be refused, with a part of the reason."""

import struct

import numpy as np
from support.images import (
    BMP,
    JPEG,
    LFS,
    MIDDLE,
    PHOTO,
    PNG,
    PROGRESSIVE,
    WEBP,
    Case,
    bmp,
    chunk,
    frame,
    patched,
    pillow_bytes,
    png,
    scans,
    sized,
)


def _no_pictures() -> list[Case]:
    noise = np.random.default_rng(1).bytes(5000)
    picture = pillow_bytes
    return [
        Case("nothing", b"", "empty file"),
        Case("a byte", b"\xff", "1 bytes starting with ff"),
        Case("noise", noise, "5,000 bytes starting with"),
        Case("zeros", bytes(5000), "zeros"),
        Case("html", b"<!DOCTYPE html><title>404 Not Found</title>", "web page"),
        Case("html after spaces", b"\xef\xbb\xbf\n  <html></html>", "web page"),
        Case("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "web page"),
        Case("gif", picture(PHOTO, "GIF"), "GIF"),
        Case("tiff", picture(PHOTO, "TIFF"), "TIFF"),
        Case("heic", b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
        Case("pdf", b"%PDF-1.7", "PDF"),
        Case("zip", b"PK\3\4" + bytes(99), "zip"),
        Case("gzip", b"\x1f\x8b\x08" + bytes(99), "gzip"),
        Case("git lfs", LFS, "Git LFS"),
    ]


def _jpegs() -> list[Case]:
    start = scans(JPEG)[0]
    second = scans(PROGRESSIVE)[1:]
    place, end = frame(JPEG), b"\xff\xd9"
    # A frame of two components in place of three: its last three bytes go.
    pair = patched(patched(JPEG, place + 3, b"\x0e"), place + 9, b"\2")
    pair = pair[: place + 16] + pair[place + 19 :]
    zeros, page = bytes(200), b"<html>" * 30
    huge = "3,600,000,000 pixels"
    return [
        Case("jpeg of 3 bytes", JPEG[:3], "it is cut"),
        Case("jpeg of a start and an end", JPEG[:2] + end, "it is cut"),
        Case("jpeg without a scan", JPEG[:start], "it is cut"),
        Case("jpeg without its data", JPEG[: start + 14], "does not decode"),
        Case("jpeg of half its data", JPEG[:MIDDLE], "does not decode"),
        Case("jpeg without its end", JPEG[:-2], "does not decode"),
        Case("jpeg without its last byte", JPEG[:-1], "does not decode"),
        Case("jpeg of half its data, closed", JPEG[:MIDDLE] + end, "not decode", True),
        Case("jpeg with a gap", JPEG[:MIDDLE] + JPEG[MIDDLE + 300 :], "decode", True),
        Case("jpeg with zeros in it", patched(JPEG, MIDDLE, zeros), "decode", True),
        Case("jpeg with html in it", patched(JPEG, MIDDLE, page), "decode", True),
        Case("jpeg in text mode", JPEG.replace(b"\n", b"\r\n"), "JPEG"),
        Case("jpeg of no rows", sized(JPEG, 0, 83), "83 x 0"),
        Case("jpeg of no columns", sized(JPEG, 61, 0), "0 x 61"),
        Case("jpeg of 60000 x 60000", sized(JPEG, 60000, 60000), huge),
        Case("jpeg of more rows", sized(JPEG, 400, 83), "does not decode", True),
        Case("jpeg lossless", patched(JPEG, place + 1, b"\xc3"), "lossless"),
        Case("jpeg of 12 bits", patched(JPEG, place + 4, b"\x0c"), "12 bits"),
        Case("jpeg of 2 components", pair, "2 components"),
        Case("jpeg with a short frame", patched(JPEG, place + 3, b"\x0a"), "length"),
        Case("jpeg with a short scan", JPEG[:start] + b"\xff\xda\0\2", "length"),
        Case("jpeg of two frames", JPEG[:start] + JPEG[place:start] + JPEG[start:],
             "two frames"),
        Case("jpeg without a frame", patched(JPEG, place + 1, b"\xfe"), "frame"),
        *(
            Case(f"jpeg of {n} scans, closed", PROGRESSIVE[:second[n - 1]] + end,
                 "no last scan")
            for n in range(1, len(second) + 1)
        ),
        Case("jpeg of few scans", PROGRESSIVE[: second[1]], "no last scan"),
        Case("jpeg progressive without its end", PROGRESSIVE[:-2], "does not decode"),
        Case("jpeg of 1000 scans",
             PROGRESSIVE[:-2] + 1000 * PROGRESSIVE[second[0]:second[0] + 10] + end,
             "scans"),
    ]  # fmt: skip


def _pngs() -> list[Case]:
    size, rows = (83, 61), b"".join(b"\0" + row.tobytes() for row in PHOTO)
    data = PNG.index(b"IDAT")
    frames = chunk(b"acTL", struct.pack(">II", 2, 0))
    text = chunk(b"tEXt", b"Title\0a picture")
    return [
        Case("png of a signature", PNG[:8], "without IEND"),
        Case("png of half its data", PNG[: len(PNG) // 2], "cut off"),
        Case("png without its end", PNG[:-12], "without IEND"),
        Case("png without its last byte", PNG[:-1], "IEND"),
        Case("png with a damaged header", patched(PNG, 17, b"\1"), "checksum"),
        Case("png with a flipped bit", patched(PNG, data + 500, b"\0\0"), "checksum"),
        Case("png with a damaged text", png(
            PHOTO, size, extra=text[:-1] + b"\0"), "checksum"),
        Case("png of too few rows", png(rows[: 250 * 30], size), "packs only"),
        Case("png interlaced of too few", png(rows[:-90], size, interlace=1), "only"),
        Case("png of an unknown filter", png(b"\x09" + rows[1:], size), "not decode"),
        Case("png of no data", PNG[: data - 4] + PNG[-12:], "packs only"),
        Case("png of broken data", PNG[: data - 4] + chunk(b"IDAT", b"abc" * 99)
             + PNG[-12:], "does not decode"),
        Case("png of no columns", png(PHOTO, (0, 61)), "0 x 61"),
        Case("png of 60000 x 60000", png(PHOTO, (60000, 60000)), "3,600,000,000"),
        Case("png of a colour type 5", png(PHOTO, size, colour=5), "does not decode"),
        Case("png animated", png(PHOTO, size, extra=frames), "animated"),
        Case("png in text mode", PNG.replace(b"\r\n", b"\n"), "starting with 89 50"),
        Case("png without IHDR", PNG[:8] + PNG[33:], "in place of IHDR"),
    ]  # fmt: skip


def _others() -> list[Case]:
    lossless = pillow_bytes(PHOTO, "WEBP", lossless=True)
    two = {"save_all": True, "append_images": [_image(255 - PHOTO)]}
    large = 16382 | 16382 << 14
    runs = b"".join(bytes((83, i, 0, 0)) for i in range(30)) + b"\0\1"
    return [
        Case("webp of half its data", WEBP[: len(WEBP) // 2], "cut off"),
        Case("webp of a header", WEBP[:16], "cut off"),
        Case("webp without its last byte", WEBP[:-1], "cut off"),
        Case("webp animated", pillow_bytes(PHOTO, "WEBP", **two), "animated"),
        Case("webp of no picture", patched(WEBP, 12, b"ABCD"), "in place of a picture"),
        Case("webp of 16383 x 16383", patched(lossless, 21, struct.pack("<I", large)),
             "268,402,689"),
        Case("bmp of half its data", BMP[: len(BMP) // 2], "does not decode"),
        Case("bmp of a header", BMP[:20], "no BMP"),
        Case("a text starting with BM", b"BMW and other cars, by age", "no BMP"),
        Case("bmp of 60000 x 60000", bmp((60000, 60000), 24, b""), "3,600,000,000"),
        Case("bmp of no rows", bmp((83, 0), 24, b""), "83 x 0"),
        Case("bmp of -83 columns", bmp((-83, 61), 24, bytes(99999)), "0 x 61"),
        Case("bmp of too few runs", bmp((83, 61), 8, runs, 1), "does not decode"),
    ]  # fmt: skip


def _image(pixels: np.ndarray):
    from PIL import Image

    return Image.fromarray(pixels)


BAD = _no_pictures() + _jpegs() + _pngs() + _others()
