"""Fake data: the same bytes for the same seed, and something to learn in them."""

import numpy as np
import pytest

from train.data.datasets.fake import fake


def test_sizes_are_as_asked():
    train, test = fake(0, 40, (12, 9, 3), 5)
    assert train.images.shape == (40, 12, 9, 3)
    assert test.images.shape == (10, 12, 9, 3)
    assert np.bincount(train.labels).tolist() == [8] * 5
    assert train.num_classes == test.num_classes == 5


def test_the_seed_alone_decides():
    one, same, other = (fake(seed, 8, (6, 6, 1), 2).train.images for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.9


def test_test_images_are_new_but_classified_by_the_nearest_training_mean():
    train, test = fake(0, 200, (16, 16, 1), 10)
    assert not any(
        (image == train.images).all((1, 2, 3)).any() for image in test.images
    )
    means = np.stack([train.images[train.labels == k].mean(0) for k in range(10)])
    distances = np.square(test.images[:, None] - means).sum((2, 3, 4))
    np.testing.assert_array_equal(distances.argmin(1), test.labels)


def test_sizes_that_are_not_positive_are_refused():
    with pytest.raises(ValueError, match=r"must be positive: got 4, \(8, 0, 1\) and 2"):
        fake(0, 4, (8, 0, 1), 2)
