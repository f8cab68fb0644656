"""Which boxes a stage is trained on, and what it says of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_flax.detection import pad_targets, sampling
from prm_flax.detection.matching import BACKGROUND, UNUSED
from prm_flax.detection.objective import Assignment
from prm_flax.detection.roi_head import STAGES, StageOutputs, choose, losses
from prm_flax.detection.targets import Targets

TRUTH = [[10, 10, 60, 80], [50, 20, 90, 60], [5, 5, 5, 9]]


def truth(places=4):
    return Targets(*map(jnp.asarray, pad_targets([TRUTH], [[2, 1, 0]], places)))


def proposals(count, seed=0):
    """Some around each box, some anywhere; every seventh is none."""
    drawn = np.random.default_rng(seed)
    near = np.array(TRUTH, float)[drawn.integers(0, 2, count)]
    near += drawn.normal(0, 6, near.shape)
    corner = drawn.uniform(0, 60, (count, 2))
    far = np.concatenate([corner, corner + drawn.uniform(5, 30, (count, 2))], 1)
    boxes = np.where(np.arange(count)[:, None] % 3 == 0, near, far)
    return jnp.asarray(boxes[None]), jnp.asarray(np.arange(count)[None] % 7 > 0)


@functools.partial(jax.jit, static_argnames=("places", "count", "random", "stage"))
def chosen(key=0, places=4, count=900, random=True, stage=0):
    boxes, valid = proposals(count)
    keys = jax.random.key(key)[None]
    return choose(boxes, valid, truth(places), 0.5, Assignment(random, keys), stage)


def test_a_quarter_of_512_at_most_are_positives(x64):
    found = chosen()
    assert found.boxes.shape == (1, 512, 4)
    positives = (found.matched >= 0).sum()
    assert positives == 128
    assert (found.matched == BACKGROUND).sum() == 512 - positives


def test_all_are_there_where_none_is_drawn(x64):
    """Those that are no proposals apart, and what has no area."""
    found = chosen(random=False)
    assert found.boxes.shape == (1, 904, 4)
    assert (found.matched == UNUSED).sum() == (np.arange(900) % 7 == 0).sum() + 2
    assert found.matched[0, :4].tolist() == [0, 1, UNUSED, UNUSED]
    assert not found.proposed[0, :4].any()


def test_fewer_than_512(x64):
    found = chosen(count=60)
    there = found.matched != UNUSED
    assert there.sum() == 60 - 9 + 2
    assert (found.proposed == (there & (np.arange(there.size) >= 2))).all()


def test_draws_depend_on_key_and_stage_and_not_on_the_places(x64):
    want = chosen()
    more = chosen(places=9)
    np.testing.assert_array_equal(more.matched, want.matched)
    np.testing.assert_array_equal(more.boxes, want.boxes)
    for other in (chosen(key=1), chosen(stage=1)):
        assert (other.boxes != want.boxes).any()


def test_every_positive_is_drawn_as_often(x64):
    """Of about 200 each is there in 128 of so many draws; within five deviations."""
    boxes, valid = proposals(900)
    keys = jax.random.split(jax.random.key(0), 200)

    @jax.jit
    @jax.vmap
    def draw(key):
        assignment = Assignment(True, key[None])
        found = choose(boxes, valid, truth(), 0.5, assignment, 0)
        return jnp.where(found.matched[0] >= 0, found.boxes[0, :, 0], -1000)

    every = chosen(random=False)
    own = np.unique(every.boxes[0, :, 0][every.matched[0] >= 0])
    share = sampling.STAGE.positive * sampling.STAGE.number / len(own)
    assert share < 0.8
    drawn = np.asarray(draw(keys))
    counts = np.array([(drawn == each).sum() for each in own])
    assert np.abs(counts - 200 * share).max() < 5 * np.sqrt(200 * share * (1 - share))


@pytest.mark.parametrize("k", range(3))
def test_losses_by_hand(k, x64):
    """One positive that is exact, one negative, one place without a box."""
    targets = truth()
    rule = STAGES[k]
    found = chosen(count=60, random=False)
    found = jax.tree.map(lambda a: a[:, :3], found)
    found = found._replace(matched=jnp.array([[0, BACKGROUND, UNUSED]], jnp.int32))
    logits = jnp.log(jnp.array([[[0.1, 0.2, 0.3, 0.4]] * 3]))
    stage = StageOutputs(logits, jnp.zeros((1, 3, 4)), found.boxes)
    got = losses(stage, found, targets, rule, 3)
    by_class = -np.log(0.3) - np.log(0.4)
    np.testing.assert_allclose(got["loss_cls"].sums, [[rule.weight * by_class]])
    np.testing.assert_allclose(got["loss_bbox"].sums, 0, atol=1e-12)
    assert {loss.divisors.item() for loss in got.values()} == {2}
    moved = stage._replace(deltas=jnp.full((1, 3, 4), 0.5))
    got = losses(moved, found, targets, rule, 3)
    np.testing.assert_allclose(got["loss_bbox"].sums, [[rule.weight * 4 * 0.125]])
