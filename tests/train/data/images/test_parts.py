"""A part decoded by itself is that part of the whole picture."""

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from support.images import (
    MAX_PIXELS,
    exif,
    frame,
    photo,
    pillow_bytes,
    textured,
    turned,
)

from train.data.images import decode, turbo
from train.data.images.containers import read_header
from train.data.images.decode import BadImage
from train.data.images.header import Part
from train.data.images.orientation import as_stored, upright


@pytest.mark.parametrize("sampling", ["444", "422", "420", "440", "411", "Gray"])
@pytest.mark.parametrize("shape", [(150, 203), (64, 48), (33, 17)])
@pytest.mark.parametrize("rough", [False, True])
def test_rows_decoded_alone_are_those_of_the_whole_picture(sampling, shape, rough):
    data = simplejpeg.encode_jpeg(textured(*shape), colorsubsampling=sampling)
    header = read_header(data, MAX_PIXELS)
    whole = turbo.turbo(data, header, Part(0, 0, *shape, 1, rough))
    for bottom in range(1, shape[0], 7):
        sides = bottom - bottom // 2, shape[1] - 5
        part = Part(bottom // 2, 3, *sides, 1, rough)
        np.testing.assert_array_equal(turbo.turbo(data, header, part), part.of(whole))


def test_rows_below_the_crop_are_not_decoded_but_a_cut_file_is_noticed():
    data = pillow_bytes(textured(400, 80), quality=90)
    header = read_header(data, MAX_PIXELS)
    part = Part(0, 0, 100, 80)
    damage = bytearray(data)
    damage[-1500:-1000] = bytes(500)
    want = decode.read_part(data, header, part)
    np.testing.assert_array_equal(decode.read_part(bytes(damage), header, part), want)
    for cut in (data[:-2], data[:-2000]):
        with pytest.raises(BadImage, match="Premature end"):
            decode.read_part(cut, header, part)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("height", [160, 133])
def test_a_part_shrunk_while_decoding_is_the_part_shrunk_after(factor, height):
    pixels = photo(height, 211)
    data = pillow_bytes(pixels, quality=95, subsampling=0)
    header = read_header(data, MAX_PIXELS)
    part = Part(8, 16, 64, 128, factor)
    small = turbo.turbo(data, header, part)
    want = Image.fromarray(part.of(pixels)).reduce(factor)
    assert small.shape[:2] == (64 // factor, 128 // factor)
    assert np.abs(small.astype(int) - np.asarray(want)).mean() < 2


def test_the_decoder_is_asked_for_no_more_rows_than_the_crop_needs(monkeypatch):
    asked = []
    decode_jpeg = simplejpeg.decode_jpeg

    def spy(data, *args, **how):
        asked.append(int.from_bytes(data[frame(data) + 5 : frame(data) + 7], "big"))
        return decode_jpeg(data, *args, **how)

    monkeypatch.setattr(simplejpeg, "decode_jpeg", spy)
    data = pillow_bytes(photo(400, 80))
    decode.read_part(data, read_header(data, MAX_PIXELS), Part(0, 0, 100, 80))
    assert asked == [116]


@pytest.mark.parametrize("number", range(1, 9))
def test_a_part_is_found_again_in_a_turned_picture(number):
    data = pillow_bytes(turned(photo(120, 90), number), exif=exif(number))
    header, whole = read_header(data, MAX_PIXELS), decode.decode(data, max_pixels=10**6)
    part = Part(11, 20, 70, 50)
    stored = decode.read_part(data, header, as_stored(part, header))
    np.testing.assert_array_equal(upright(stored, header), part.of(whole))
