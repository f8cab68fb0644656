"""Crops and flips: a window of the padded image, chosen by (seed, epoch, image)."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from train.data.images.augment import CropDraws, draw, random_crop_flip
from train.data.rng import below, words

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


def one_by_one(images: np.ndarray, draws: CropDraws, padding: int) -> np.ndarray:
    """The definition, image by image."""
    height, width = images.shape[1:3]
    results = []
    for image, top, left, flip in zip(images, *draws, strict=True):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        window = padded[top : top + height, left : left + width]
        results.append(window[:, ::-1] if flip else window)
    return np.stack(results)


@given(seed=st.integers(), padding=st.integers(0, 6), flip=st.booleans())
def test_the_fast_form_is_the_definition(seed, padding, flip):
    draws = draw(seed, 0, len(IMAGES), padding=padding, flip=flip)
    expected = one_by_one(IMAGES, draws, padding)
    np.testing.assert_array_equal(random_crop_flip(IMAGES, draws, padding), expected)


def test_without_padding_and_flip_nothing_changes():
    draws = draw(0, 0, len(IMAGES), padding=0, flip=False)
    np.testing.assert_array_equal(random_crop_flip(IMAGES, draws, 0), IMAGES)


def test_the_images_themselves_stay_as_they_are():
    before = IMAGES.copy()
    random_crop_flip(IMAGES, draw(0, 0, len(IMAGES), padding=2, flip=True), 2)
    np.testing.assert_array_equal(IMAGES, before)


@given(seed=st.integers(0, 2**64), epoch=st.integers(0, 1000), fewer=st.integers(1, 9))
def test_an_image_is_drawn_alike_however_many_others_there_are(seed, epoch, fewer):
    many = draw(seed, epoch, 10, padding=3, flip=True)
    few = draw(seed, epoch, fewer, padding=3, flip=True)
    for one, other in zip(many.take(np.arange(fewer)), few, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_offset_and_both_directions_come_equally_often():
    draws = draw(0, 0, 50_000, padding=2, flip=True)
    for offsets in (draws.top, draws.left):
        np.testing.assert_allclose(np.bincount(offsets) / 50_000, 0.2, atol=0.01)
    assert draws.flip.mean() == pytest.approx(0.5, abs=0.01)
    assert abs(np.corrcoef(np.stack(draws))[np.triu_indices(3, 1)]).max() < 0.02


@pytest.mark.parametrize("other", [(1, 0, "order"), (0, 1, "order"), (0, 0, "flip")])
def test_seed_epoch_and_stream_each_give_other_numbers(other):
    assert not np.isin(words(0, 0, "order", 100), words(*other, 100)).any()


def test_the_numbers_of_a_stream_never_change():
    # Fixed when the stream was defined: a run resumed with later code or a later
    # numpy must see the same order, crops and flips.
    assert words(0, 0, "order", 2).tolist() == [
        4109782881220568172,
        14794269669275960125,
    ]


@given(bound=st.integers(1, 2**31))
def test_scaled_words_stay_below_their_bound(bound):
    extremes = np.array([0, 2**64 - 1], np.uint64)
    assert below(bound, extremes).tolist() == [0, bound - 1]
