"""Noise in the shape of a data set."""

import numpy as np
import pytest

from train.data.datasets.fake import FakeInput
from train.data.input import ALONE, Shard


def make(shard=ALONE):
    return FakeInput((8, 8, 3), 7, 24, 1000, shard)


def test_batches_have_the_shape_of_the_real_ones():
    batches = list(make().train(3, 6))
    assert len(batches) == 3
    for batch in batches:
        assert batch["image"].shape == (24, 8, 8, 3)
        assert batch["image"].dtype == np.uint8 and batch["image"].std() > 50
        assert batch["label"].tolist() == [i % 7 for i in range(24)]


def test_every_test_image_counts_once():
    batches = list(make().test())
    assert [len(batch["mask"]) for batch in batches] == [1000] * 3
    assert sum(batch["mask"].sum() for batch in batches) == make().test_images == 2560


@pytest.mark.parametrize("kind", ["train", "test"])
def test_the_processes_rows_are_the_batch(kind):
    def batches(shard):
        images = make(shard)
        return images.train(0, 2) if kind == "train" else images.test()

    parts = [batches(Shard(i, 4)) for i in range(4)]
    for whole, *shares in zip(batches(ALONE), *parts, strict=True):
        for name, array in whole.items():
            together = np.concatenate([share[name] for share in shares])
            np.testing.assert_array_equal(together, array)
