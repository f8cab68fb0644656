"""Assignment, by numbers written by hand and by laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_flax.detection.boxes import iou
from prm_flax.detection.matching import (
    BACKGROUND,
    IGNORED,
    RETINANET,
    RPN,
    UNUSED,
    Thresholds,
    ignore_crowds,
    match,
)

# Of the first box they overlap 1, .6, .45, .25 and 0.
BOXES = jnp.array([[0.0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 0, 0]])
ANCHORS = jnp.array(
    [[0.0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4.5], [0, 0, 5, 5], [80, 80, 90, 90]]
)
STAGE = Thresholds(0.5, 0.5)
run = jax.jit(match, static_argnums=4)


def matched(rule, boxes=BOXES, valid=(1, 0, 0), usable=(1,) * 5, anchors=ANCHORS):
    valid, usable = jnp.array(valid, bool), jnp.array(usable, bool)
    return run(boxes, valid, anchors, usable, rule).tolist()


def test_thresholds_by_hand():
    assert matched(RETINANET) == [0, 0, IGNORED, BACKGROUND, BACKGROUND]
    assert matched(STAGE) == [0, 0, BACKGROUND, BACKGROUND, BACKGROUND]
    assert matched(RPN) == [0, IGNORED, IGNORED, BACKGROUND, BACKGROUND]


def test_without_boxes_all_is_background():
    assert matched(RETINANET, valid=(0, 0, 0)) == [BACKGROUND] * 5


def test_what_takes_no_part():
    assert matched(RETINANET, usable=(0, 1, 1, 1, 0)) == [UNUSED, 0, -2, -1, UNUSED]


def test_a_box_gets_its_best_anchors_however_little_they_overlap():
    """All that are equally good; a later box takes them from an earlier one."""
    small = jnp.array([[0.0, 0, 10, 10], [82, 82, 83, 83], [82, 82, 83, 83]])
    two = jnp.concatenate([ANCHORS, ANCHORS[4:]])
    got = matched(RETINANET, small, (1, 1, 1), (1,) * 6, two)
    assert got == [0, 0, IGNORED, BACKGROUND, 2, 2]
    assert matched(STAGE, small, (1, 1, 1), (1,) * 6, two)[4:] == [BACKGROUND] * 2


def test_a_box_that_meets_no_anchor_and_one_of_no_height_take_none():
    assert matched(RETINANET, valid=(1, 1, 1)) == matched(RETINANET)


def test_crowds_by_hand():
    """Background is ignored where a crowd covers more than half; matches stay."""
    before = jnp.array(matched(RETINANET))
    crowds = jnp.array([[0.0, 0, 3, 5], [78, 78, 92, 92]])
    is_crowd = jnp.array([True, True])
    after = ignore_crowds(before, crowds, is_crowd, ANCHORS, 0.5)
    assert after.tolist() == [0, 0, IGNORED, IGNORED, IGNORED]
    after = ignore_crowds(before, crowds, ~is_crowd, ANCHORS, 0.5)
    assert after.tolist() == before.tolist()


@pytest.mark.parametrize("rule", [RETINANET, RPN, STAGE])
@given(st.integers(0, 2**16))
def test_as_the_words_say(rule, seed):
    """Against loops over boxes and anchors; compiled, ties included."""
    rng = np.random.default_rng(seed)
    boxes = rng.integers(0, 12, (5, 2)).astype("float32")
    boxes = np.concatenate([boxes, boxes + rng.integers(0, 9, (5, 2))], -1)
    boxes = boxes.astype("float32")
    low = rng.integers(0, 12, (40, 2))
    anchors = np.concatenate([low, low + rng.integers(1, 9, (40, 2))], -1)
    anchors = anchors.astype("float32")
    valid, usable = rng.random(5) < 0.8, rng.random(40) < 0.9
    overlaps = np.array(iou(jnp.asarray(boxes), jnp.asarray(anchors)))
    overlaps[~valid] = -1
    want = []
    for n in range(40):
        k, best = overlaps[:, n].argmax(), overlaps[:, n].max()
        want.append(IGNORED if best >= rule.negative else BACKGROUND)
        want[-1] = k if best >= rule.positive else want[-1]
    if rule.low_quality is not None:
        for k in np.flatnonzero(valid):
            best = overlaps[k, usable].max(initial=0)
            if best > 0 and best >= rule.low_quality:
                for n in np.flatnonzero(overlaps[k] == best):
                    want[n] = k
    want = np.where(usable, want, UNUSED)
    got = run(jnp.asarray(boxes), valid, jnp.asarray(anchors), usable, rule)
    np.testing.assert_array_equal(got, want)
