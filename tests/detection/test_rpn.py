"""Proposals and what their network is trained on, of invented outputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_flax.detection import pad_targets, rpn
from prm_flax.detection.dense import DenseOutputs
from prm_flax.detection.levels import extent_of, extents_of
from prm_flax.detection.objective import Assignment
from prm_flax.detection.targets import Targets

STRIDES = (4, 8)
SIZE = (250, 180)
# Both are larger than the image's own 256×192.
BUCKETS = ((256, 192), (320, 192), (256, 256))
TRUTH = [[8, 20, 42, 52], [60, 60, 126, 122], [100, 0, 164, 60]]


def outputs(bucket, seed=0):
    """Of a bucket; within the image's extent the same numbers in each."""
    drawn, fixed = np.random.default_rng([*bucket, seed]), np.random.default_rng(seed)
    maps = [], []
    for stride in STRIDES:
        for kind, n in enumerate((1, 4)):
            h, w = (side // stride for side in bucket)
            whole = drawn.standard_normal((1, h, w, 3, n))
            own = fixed.standard_normal((1, 256 // stride, 192 // stride, 3, n))
            whole[:, : own.shape[1], : own.shape[2]] = own
            maps[kind].append(jnp.asarray(whole * (1 if n == 1 else 0.3)))
    return DenseOutputs(*map(tuple, maps))


def around(bucket):
    """The extents of the levels, and the image's size."""
    size = jnp.array([SIZE])
    return extents_of(extent_of(size, bucket), STRIDES), size.astype(float)


def truth(places=4):
    return Targets(*map(jnp.asarray, pad_targets([TRUTH], [[0, 1, 0]], places)))


@functools.cache
def program(bucket, random=True):
    @jax.jit
    def run(outputs, targets, key):
        extents, sizes = around(bucket)
        chosen = Assignment(random, key[None])
        return rpn.losses(outputs, STRIDES, extents, sizes, targets, chosen)

    return run


def losses(bucket, key, places=4):
    found = program(bucket)(outputs(bucket), truth(places), jax.random.key(key))
    return {name: np.asarray(loss.sums) for name, loss in found.items()}


def test_what_is_drawn_depends_neither_on_the_bucket_nor_on_the_places(x64):
    want = losses(BUCKETS[0], 3)
    near = functools.partial(np.testing.assert_allclose, rtol=1e-12)
    for bucket, places in ((BUCKETS[1], 4), (BUCKETS[2], 4), (BUCKETS[0], 9)):
        jax.tree.map(near, losses(bucket, 3, places), want)


def test_what_is_drawn_is_a_function_of_the_key(x64):
    one, other = losses(BUCKETS[0], 3), losses(BUCKETS[0], 4)
    assert (one["loss_rpn_cls"] != other["loss_rpn_cls"]).any()


def test_half_of_256_at_most_are_positives(x64):
    """Both losses are divided by what is drawn."""
    found = program(BUCKETS[0])(outputs(BUCKETS[0]), truth(), jax.random.key(0))
    assert {loss.divisors.item() for loss in found.values()} == {256}
    every = program(BUCKETS[0], random=False)
    found = every(outputs(BUCKETS[0]), truth(), jax.random.key(0))
    assert found["loss_rpn_cls"].divisors.item() > 256


def test_anchors_that_reach_out_of_the_image_take_no_part(x64):
    extents, sizes = around(BUCKETS[2])
    given = outputs(BUCKETS[2]), STRIDES, extents, sizes, truth()
    own, matched = rpn.assigned(*given)
    inside = (own[0, :, :2] >= 0).all(-1) & (own[0, :, 2] < 180) & (own[0, :, 3] < 250)
    np.testing.assert_array_equal(matched[0] != -3, inside)
    assert set(matched[0].tolist()) == {-3, -2, -1, 0, 1, 2}


@functools.cache
def proposed(bucket, best=40, keep=30):
    run = jax.jit(rpn.proposals, static_argnums=(1, 4, 5))
    extents, sizes = around(bucket)
    return run(outputs(bucket), STRIDES, extents, sizes, best, keep)


@pytest.mark.parametrize("bucket", BUCKETS[1:])
def test_proposals_do_not_depend_on_the_bucket(bucket, x64):
    got, want = proposed(bucket), proposed(BUCKETS[0])
    np.testing.assert_allclose(got.boxes, want.boxes, 0, 1e-9)
    np.testing.assert_array_equal(got.valid, want.valid)


def test_proposals_lie_in_the_image_best_first_and_have_an_area(x64):
    boxes, scores, valid = (each[0] for each in proposed(BUCKETS[1]))
    assert valid.all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes[:, 2:] <= np.array([180, 250])).all()
    assert (np.diff(scores) <= 0).all()


def test_fewer_boxes_than_places(x64):
    """One a level is left of those that are all the whole image."""
    extents, sizes = around(BUCKETS[0])
    found = outputs(BUCKETS[0])
    wide = tuple(jnp.full(deltas.shape, 4.0) for deltas in found.deltas)
    found = found._replace(deltas=wide)
    found = rpn.proposals(found, STRIDES, extents, sizes, 5, 30)
    assert found.valid.tolist() == [[True] * 2 + [False] * 8]
    np.testing.assert_allclose(found.boxes[0, :2], [[0, 0, 180, 250]] * 2)
    assert not found.boxes[0, 2:].any()
    assert not found.scores[0, 2:].any()
