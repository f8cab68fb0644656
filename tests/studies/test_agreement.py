"""Ranks of places and correlations of maps."""

import numpy as np
import pytest

from studies.agreement import block_means, correlations, ranks_at


def test_the_mean_rank_of_all_places_is_one_half():
    values = np.random.default_rng(0).integers(0, 5, (3, 4, 6)).astype(float)
    every = np.stack(np.meshgrid(range(4), range(6), indexing="ij"), -1).reshape(
        1, -1, 2
    )
    found = ranks_at(values, np.repeat(every, 3, axis=0))
    np.testing.assert_allclose(found, 0.5)


def test_the_largest_of_a_hundred_has_rank_0995_and_the_least_0005():
    values = np.arange(100.0).reshape(1, 10, 10)
    assert ranks_at(values, np.array([[[9, 9]]])) == pytest.approx(0.995)
    assert ranks_at(values, np.array([[[0, 0]]])) == pytest.approx(0.005)
    assert ranks_at(values, np.array([[[0, 0], [9, 9]]])) == pytest.approx(0.5)


def test_a_constant_map_ranks_nothing():
    assert np.isnan(ranks_at(np.ones((1, 2, 2)), np.zeros((1, 1, 2), int))).all()
    assert np.isnan(correlations(np.ones((1, 2, 2)), np.eye(2)[None])).all()


def test_correlations_are_numpy_s():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 3, 4))
    expected = [
        np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(correlations(a, b), expected)
    np.testing.assert_allclose(correlations(a, 2 * a + 1), 1)


def test_blocks_have_their_means():
    values = np.arange(16.0).reshape(1, 4, 4)
    assert block_means(values, (2, 2)).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]


def test_blocks_that_do_not_fill_the_image_are_refused():
    with pytest.raises(ValueError, match="3x3 must divide the image of 4x4"):
        block_means(np.zeros((1, 4, 4)), (3, 3))
