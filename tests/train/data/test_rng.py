"""The words of one image: a window of the stream, reached directly."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from train.data.rng import WORDS_PER_INDEX, unit, words, words_at


@given(seed=st.integers(), index=st.integers(0, 30), count=st.integers(0, 256))
def test_they_are_the_streams_words_from_the_index_on(seed, index, count):
    stream = words(seed, 1, "crop", 31 * WORDS_PER_INDEX)
    start = index * WORDS_PER_INDEX
    got = words_at(seed, 1, "crop", index, count)
    np.testing.assert_array_equal(got, stream[start : start + count])


def test_no_two_images_epochs_seeds_or_streams_share_a_word():
    names = [(s, e, n, i) for s in (0, 1) for e in (0, 1) for n in "ab" for i in (0, 1)]
    drawn = np.stack([words_at(*name, WORDS_PER_INDEX) for name in names])
    assert len(np.unique(drawn)) == drawn.size


def test_the_numbers_never_change():
    # Fixed when they were defined: a run resumed with later code sees the same crops.
    assert words_at(0, 0, "crop", 1_281_166, 2).tolist() == [
        18159316683958387097,
        14434960734232350518,
    ]


@pytest.mark.parametrize(("index", "count"), [(-1, 1), (0, 257), (0, -1), (2**57, 1)])
def test_an_index_or_count_out_of_range_is_refused(index, count):
    with pytest.raises(ValueError, match=f"index {index} and {count} words"):
        words_at(0, 0, "crop", index, count)


def test_unit_numbers_start_at_0_and_stay_below_1():
    extremes = unit(np.array([0, 2**63, 2**64 - 1], np.uint64))
    assert extremes.tolist() == [0.0, 0.5, 1 - 2**-53]


def test_unit_numbers_are_uniform():
    counts = np.histogram(unit(words(0, 0, "unit", 100_000)), 10, (0, 1))[0]
    np.testing.assert_allclose(counts / 100_000, 0.1, atol=0.005)
