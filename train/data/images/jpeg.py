"""The marker segments of a JPEG file, up to its first scan and over all of them.

ITU-T T.81, annex B. Segments are walked strictly, one right behind the other, so that
no decoder can read another size from the file than the one that was checked.
"""

import re
from collections.abc import Iterator

from train.data.images.header import BadImage, Header, Scan
from train.data.images.orientation import orientation_of

# Frames: baseline, extended, progressive; the same two with arithmetic coding.
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = {0xC2, 0xCA}
_RESTART_INTERVAL, _SCAN, _END = 0xDD, 0xDA, 0xD9
# Where a segment counts its entries, its length without them, the length of each.
_LENGTHS = dict.fromkeys(_FRAMES | _OTHER_FRAMES, (5, 6, 3)) | {_SCAN: (0, 4, 2)}
# APP1 to APP13, APP15 and comments hold no pixels. APP0 and APP14 tell the colours.
_TEXTS = {*range(0xE1, 0xEE), 0xEF, 0xFE}
# Inside a scan a byte FF is followed by 00 or a restart marker, or ends the scan.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Encoders make about ten. Each scan is a pass over the whole picture, and takes a few
# bytes: a small file could keep a decoder busy for hours.
_MOST_SCANS = 200


def jpeg_header(data: bytes) -> Header:
    """Read the segments before the first scan.

    Args:
        data: the file, from its two bytes FF D8 on.

    Returns:
        Size, orientation and how the scan runs.

    Raises:
        BadImage: the segments break off, are of a kind of JPEG that is not read, or
            hold no frame.
    """
    orientation, restarts, kept, keep_from = 1, False, [], 0
    frame: tuple[int, int] | None = None
    for marker, start, end in _segments(data, 2):
        if marker == _SCAN:
            break
        if marker in _FRAMES or marker in _OTHER_FRAMES:
            if frame:
                raise BadImage("JPEG with two frames: one picture is expected")
            frame = marker, start
        elif marker == _RESTART_INTERVAL:
            restarts = data[start : start + 2] != b"\0\0"
        elif marker in _TEXTS:
            if marker == 0xE1 and data.startswith(b"Exif\0\0", start):
                orientation = orientation_of(data[start + 6 : end])
            kept.append(slice(keep_from, start - 4))
            keep_from = end
    else:
        raise BadImage("JPEG that ends before its picture starts: it is cut")
    if frame is None:
        raise BadImage("JPEG without a frame header: its size is unknown")
    kept.append(slice(keep_from, None))
    height, width, components = _frame(data, *frame)
    one_pass = frame[0] not in _PROGRESSIVE and data[start] == components
    scan = Scan(frame[1] + 1, components, one_pass and not restarts)
    if not one_pass:
        _check_scans(data, start - 4, frame[1], components)
    return Header("JPEG", height, width, orientation, tuple(kept), scan)


def _segments(data: bytes, place: int) -> Iterator[tuple[int, int, int]]:
    """(marker, start and end of its content), up to the end of the picture."""
    while True:
        while data[place : place + 2] == b"\xff\xff":  # fill bytes
            place += 1
        if len(data) < place + 4 or data[place] != 0xFF:
            break
        marker = data[place + 1]
        end = place + 2 + (data[place + 2] << 8 | data[place + 3])
        if marker == _END or end < place + 4 or end > len(data):
            break
        _check_length(data, marker, place + 4, end)
        yield marker, place + 4, end
        place = end
        if marker == _SCAN:
            after = _AFTER_SCAN.search(data, end)
            place = after.start() if after else len(data)


def _check_length(data: bytes, marker: int, start: int, end: int) -> None:
    counted_at, fixed, each = _LENGTHS.get(marker, (0, 0, 0))
    if not fixed:
        return
    entries = data[start + counted_at] if start + counted_at < end else 0
    if entries == 0 or end != start + fixed + each * entries:
        raise BadImage(f"JPEG whose header {marker:02X} has a wrong length")


def _frame(data: bytes, marker: int, start: int) -> tuple[int, int, int]:
    if marker in _OTHER_FRAMES:
        raise BadImage(
            f"JPEG of the lossless or hierarchical kind (frame {marker:02X}), which is "
            "not read: save it as an ordinary JPEG"
        )
    bits, components = data[start], data[start + 5]
    if bits != 8 or components not in (1, 3, 4):
        raise BadImage(
            f"JPEG with {components} components of {bits} bits: 1, 3 or 4 of 8 bits "
            "are read"
        )
    height = data[start + 1] << 8 | data[start + 2]
    return height, data[start + 3] << 8 | data[start + 4], components


def _check_scans(data: bytes, place: int, frame: int, components: int) -> None:
    """All bits of all coefficients must come, in one of the scans or another.

    A progressive file that was cut between two scans and closed is a valid file of a
    coarse picture, or of one without its colours: no decoder says a word.
    """
    names = [data[frame + 6 + 3 * i] for i in range(components)]
    missing = {name: set(range(64)) for name in names}
    segments = _segments(data, place)
    scans = [(start, end) for marker, start, end in segments if marker == _SCAN]
    if len(scans) > _MOST_SCANS:
        raise BadImage(f"JPEG of {len(scans)} scans: up to {_MOST_SCANS} are read")
    for start, end in scans:
        first, last, bits = data[end - 3 : end]
        if bits & 0x0F == 0:  # the last bit of these coefficients
            for name in data[start + 1 : end - 3 : 2]:
                missing.get(name, set()).difference_update(range(first, last + 1))
    if any(missing.values()):
        raise BadImage(
            f"{sum(map(len, missing.values()))} of {64 * components} coefficients of "
            "the JPEG have no last scan: it was cut between two scans"
        )
