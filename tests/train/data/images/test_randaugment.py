"""RandAugment: 14 operations, chance from the words alone, nothing at magnitude 0."""

import numpy as np
import pytest
from PIL import Image, ImageChops
from support.images import photo

from train.data.images.randaugment import OPERATIONS, randaugment, words_needed
from train.data.rng import words_at

PIXELS = photo(60, 80)[:, :, ::-1] // 2 + 40  # levels within 40..167
PICTURE = Image.fromarray(PIXELS)
RANGED = sorted(OPERATIONS.keys() - {"identity", "autocontrast", "equalize"})


def apply(name: str, strength: float) -> np.ndarray:
    return np.asarray(OPERATIONS[name](PICTURE, strength))


def test_there_are_the_papers_14_operations():
    assert len(OPERATIONS) == 14


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("strength", [-1.0, -0.3, 0.0, 0.9, 1.0])
def test_shape_and_type_stay(name, strength):
    got = apply(name, strength)
    assert got.shape == PIXELS.shape and got.dtype == np.uint8


@pytest.mark.parametrize("name", [*RANGED, "identity"])
def test_at_strength_0_nothing_changes(name):
    np.testing.assert_array_equal(apply(name, 0.0), PIXELS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_at_full_strength_all_but_identity_change_the_picture(name):
    changed = (apply(name, 1.0) != PIXELS).any()
    assert changed == (name != "identity")


@pytest.mark.parametrize("name", sorted(set(RANGED) - {"solarize", "posterize"}))
def test_the_coin_turns_the_direction(name):
    assert (apply(name, 1.0) != apply(name, -1.0)).any()


@pytest.mark.parametrize("name", RANGED)
def test_more_strength_changes_more(name):
    far, near = (
        np.abs(apply(name, strength).astype(int) - PIXELS).mean()
        for strength in (0.9, 0.2)
    )
    assert far > near


def test_translations_move_by_150_of_331_and_leave_grey():
    moved = round(80 * 150 / 331)
    got = apply("translate_x", 1.0)
    assert (got[:, -(moved - 1) :] == 128).all()
    assert (got[:, : 80 - moved - 1] != 128).any()
    assert (apply("translate_y", -1.0)[: round(60 * 150 / 331) - 1] == 128).all()


def test_a_rotation_by_30_degrees_leaves_grey_corners():
    got = apply("rotate", 1.0)
    assert all((got[y, x] == 128).all() for y in (0, -1) for x in (0, -1))
    np.testing.assert_allclose(got[30, 40], PIXELS[30, 40], atol=12)


def test_levels_are_the_papers_at_full_strength():
    np.testing.assert_array_equal(apply("posterize", 1.0), PIXELS & 0xF0)
    inverted = np.asarray(ImageChops.invert(PICTURE))
    np.testing.assert_array_equal(apply("solarize", 1.0), inverted)
    np.testing.assert_allclose(apply("brightness", -1.0), PIXELS * 0.1, atol=1)
    assert apply("autocontrast", 0.0).min() == 0
    assert apply("autocontrast", 0.0).max() == 255


def draw(index: int, ops: int = 2) -> np.ndarray:
    return words_at(0, 0, "randaugment", index, words_needed(ops))


def test_the_same_words_give_the_same_bits():
    for index in range(20):
        first, second = (
            randaugment(PIXELS, draw(index), ops=2, magnitude=9) for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)


def test_other_words_give_other_pictures_and_the_input_stays():
    before = PIXELS.copy()
    results = {
        randaugment(PIXELS, draw(index), ops=2, magnitude=9).tobytes()
        for index in range(100)
    }
    assert len(results) > 60
    np.testing.assert_array_equal(PIXELS, before)


def test_no_operation_is_a_copy():
    got = randaugment(PIXELS, draw(0, 0), ops=0, magnitude=9)
    np.testing.assert_array_equal(got, PIXELS)
    assert got.flags.writeable and not np.shares_memory(got, PIXELS)


def test_operations_follow_each_other():
    one = randaugment(PIXELS, draw(0)[:2], ops=1, magnitude=9)
    both = randaugment(PIXELS, draw(0), ops=2, magnitude=9)
    then = randaugment(one, draw(0)[2:], ops=1, magnitude=9)
    np.testing.assert_array_equal(both, then)


def test_every_operation_comes_equally_often(monkeypatch):
    seen = []
    for name in OPERATIONS:
        spy = lambda picture, strength, name=name: seen.append(name) or picture  # noqa: E731
        monkeypatch.setitem(OPERATIONS, name, spy)
    for index in range(500):
        randaugment(PIXELS[:2, :2], draw(index, 10), ops=10, magnitude=5)
    counts = np.array([seen.count(name) for name in OPERATIONS]) / len(seen)
    np.testing.assert_allclose(counts, 1 / 14, atol=0.015)


@pytest.mark.parametrize(
    ("ops", "magnitude", "words"), [(-1, 5, 9), (2, 10.1, 9), (2, -1, 9), (2, 5, 3)]
)
def test_numbers_out_of_range_are_refused(ops, magnitude, words):
    with pytest.raises(ValueError, match=f"got ops {ops}, magnitude {magnitude}"):
        randaugment(PIXELS, np.zeros(words, np.uint64), ops=ops, magnitude=magnitude)
