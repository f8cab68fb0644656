"""Shares of a batch, and the order of an epoch."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from train.data.input import Shard
from train.data.rng import order


@given(count=st.integers(1, 8), share=st.integers(1, 9))
def test_the_processes_rows_are_the_batch(count, share):
    rows = np.arange(count * share)
    shards = [rows[Shard(i, count).rows(len(rows))] for i in range(count)]
    assert {len(shard) for shard in shards} == {share}
    np.testing.assert_array_equal(np.concatenate(shards), rows)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="10 images and 4 processes"):
        Shard(0, 4).rows(10)


@given(seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 300), n=st.integers(1, 99))
def test_an_epoch_visits_every_image_once(seed, epoch, n):
    visits = order(seed, epoch, n)
    assert sorted(visits.tolist()) == list(range(n))
    assert visits.dtype == np.int32 and not visits.flags.writeable


def test_epochs_and_seeds_differ():
    orders = {order(seed, epoch, 50).tobytes() for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4
