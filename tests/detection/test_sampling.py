"""Sampling: how many, without replacement, each as often as any other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_flax.detection.sampling import Sample, compact, sample

RULE = Sample(8, 0.25)


@functools.cache
def many(positives, negatives, count=4000):
    """What is drawn with so many keys, of positives, negatives and 5 of neither."""
    kind = np.repeat([0, 1, 2], [positives, negatives, 5])
    positive, negative = jnp.asarray(kind == 0), jnp.asarray(kind == 1)
    draw = jax.jit(jax.vmap(lambda key: sample(key, positive, negative, RULE)))
    return kind, np.asarray(draw(jax.random.split(jax.random.key(0), count)))


@pytest.mark.parametrize(
    ("positives", "negatives", "of_each"),
    [
        (10, 30, (2, 6)),
        (1, 30, (1, 7)),
        (0, 30, (0, 8)),
        (10, 3, (2, 3)),
        (0, 0, (0, 0)),
    ],
)
def test_how_many(positives, negatives, of_each):
    """Negatives fill up where positives lack; none are made up where both do."""
    kind, drawn = many(positives, negatives)
    for k, count in enumerate((*of_each, 0)):
        assert (drawn[:, kind == k].sum(-1) == count).all()


def test_each_is_drawn_as_often():
    """Within 4.5 standard deviations of the share that each should have."""
    kind, drawn = many(10, 30)
    for k, share in ((0, 2 / 10), (1, 6 / 30)):
        counts = drawn[:, kind == k].sum(0)
        spread = np.sqrt(len(drawn) * share * (1 - share))
        assert np.abs(counts - len(drawn) * share).max() < 4.5 * spread


def test_pairs_are_drawn_as_often():
    """Two of ten positives: each of the 45 pairs."""
    kind, drawn = many(10, 30)
    own = drawn[:, kind == 0].astype(int)
    pairs = (own.T @ own)[np.triu_indices(10, 1)]
    spread = np.sqrt(len(drawn) / 45 * (44 / 45))
    assert np.abs(pairs - len(drawn) / 45).max() < 4.5 * spread


def test_one_key_draws_one_sample():
    _, drawn = many(10, 30)
    assert (drawn[0] != drawn[1]).any()
    one = jax.random.split(jax.random.key(0), 4000)[0]
    kind = np.repeat([0, 1, 2], [10, 30, 5])
    again = sample(one, jnp.asarray(kind == 0), jnp.asarray(kind == 1), RULE)
    np.testing.assert_array_equal(again, drawn[0])


def test_places_of_what_is_drawn():
    drawn = jnp.array([False, True, False, True, True])
    places, there = compact(drawn, 4)
    assert places[:3].tolist() == [1, 3, 4]
    assert there.tolist() == [True, True, True, False]
    assert compact(drawn, 2)[0].tolist() == [1, 3]
