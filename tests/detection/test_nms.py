"""Suppression equals a loop in the order of scores."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_flax.detection.nms import best_of, nms

COUNT = 24


def greedy(overlaps, scores, classes, valid, threshold):
    """The loop."""
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        over = any(
            overlaps[k, i] > threshold and classes[k] == classes[i] for k in kept
        )
        if valid[i] and not over:
            kept.append(int(i))
    return kept


def overlaps_of(boxes):
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), -1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], -1)
    union = area[:, None] + area[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def scattered(rng):
    low = rng.uniform(0, 20, (COUNT, 2))
    return np.concatenate([low, low + rng.uniform(0, 15, (COUNT, 2))], -1)


def clustered(rng):
    centre = rng.uniform(0, 20, (3, 2))[rng.integers(0, 3, COUNT)]
    low = centre + rng.normal(size=(COUNT, 2))
    return np.concatenate([low, low + 8 + rng.normal(size=(COUNT, 2))], -1)


def chain(rng):
    """Each overlaps its neighbours by half."""
    x = rng.permutation(COUNT) * 3.0
    zero = np.zeros(COUNT)
    return np.stack([x, zero, x + 9, zero + 9], -1)


def on_a_grid(rng):
    """Whole numbers: equal boxes, boxes of no area."""
    low = rng.integers(0, 5, (COUNT, 2))
    return np.concatenate([low, low + rng.integers(0, 5, (COUNT, 2))], -1).astype(float)


KINDS = (scattered, clustered, chain, on_a_grid)


def sets(kind, count):
    """Boxes, scores with ties, classes and which there are, of so many sets."""
    rng = np.random.default_rng(KINDS.index(kind))
    boxes = np.stack([kind(rng) for _ in range(count)])
    scores = rng.integers(0, 12, (count, COUNT)) / 12
    classes = rng.integers(0, 2, (count, COUNT))
    return boxes, scores, classes, rng.random((count, COUNT)) < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_as_the_loop_of_2500_sets_of_each_kind(kind, x64):
    boxes, scores, classes, valid = sets(kind, 2500)
    by_class = functools.partial(nms, threshold=0.5)
    kept = jax.jit(jax.vmap(lambda b, s, c, v: by_class(b, s, v, classes=c)))
    alone = jax.jit(jax.vmap(by_class))
    best = functools.partial(best_of, threshold=0.5, keep=5)
    best = jax.jit(jax.vmap(best))
    arrays = boxes, scores, classes, valid
    got, one = kept(*arrays), alone(boxes, scores, valid)
    places, found = map(np.asarray, best(*arrays))
    for i, (b, s, c, v) in enumerate(zip(*arrays, strict=True)):
        overlaps = overlaps_of(b)
        want = greedy(overlaps, s, c, v, 0.5)
        assert set(np.flatnonzero(got[i])) == set(want)
        assert places[i][found[i]].tolist() == want[:5]
        together = greedy(overlaps, s, 0 * c, v, 0.5)
        assert set(np.flatnonzero(one[i])) == set(together)


def test_what_was_kept_is_kept_again(x64):
    boxes, scores, _, valid = (each[0] for each in sets(clustered, 1))
    once = nms(jnp.asarray(boxes), jnp.asarray(scores), jnp.asarray(valid), 0.5)
    twice = nms(jnp.asarray(boxes), jnp.asarray(scores), once, 0.5)
    np.testing.assert_array_equal(once, twice)


def test_none_of_none():
    boxes, scores = jnp.ones((4, 4)), jnp.ones(4)
    assert not nms(boxes, scores, jnp.zeros(4, bool), 0.5).any()
    found = best_of(boxes, scores, jnp.zeros(4, int), jnp.zeros(4, bool), 0.5, 2)[1]
    assert not found.any()
