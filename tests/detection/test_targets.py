"""Ground truth in fixed shapes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_flax.detection import pad_targets
from prm_flax.detection.matching import BACKGROUND, IGNORED, RETINANET, UNUSED
from prm_flax.detection.targets import Targets, assign

GRID = [[x, y, x + 16, y + 16] for y in range(0, 64, 8) for x in range(0, 64, 8)]
ANCHORS = jnp.asarray([GRID], jnp.float32)
USABLE = jnp.ones(ANCHORS.shape[:2], bool)


def given_truth(boxes, labels, places=8, crowd=None):
    found = pad_targets([boxes], [labels], places, crowd and [crowd])
    return Targets(*map(jnp.asarray, found))


@functools.partial(jax.jit, static_argnames="crowd_share")
def matched(targets, crowd_share=None):
    return assign(targets, ANCHORS, USABLE, RETINANET, crowd_share)[0]


def test_places_by_hand():
    found = pad_targets([[[0, 1, 2, 3]], []], [[5], []], 2, [[True], []])
    assert found.boxes.tolist() == [[[0, 1, 2, 3], [0] * 4], [[0] * 4] * 2]
    assert found.labels.tolist() == [[5, 0], [0, 0]]
    assert found.valid.tolist() == [[True, False], [False, False]]
    assert found.crowd.tolist() == [[True, False], [False, False]]
    there = Targets(*map(jnp.asarray, found))
    assert not there.objects.any()


@pytest.mark.parametrize(
    ("boxes", "labels", "crowd", "words"),
    [
        ([[0, 0, 1, 1]] * 3, [0] * 3, None, "image 0 of the batch has 3, places=2"),
        ([[0, 0, 1, 1]], [0, 1], None, "1 boxes, 2 labels, 2 crowd flags"),
        ([[0, 0, 1, 1]], [0], [[0, 1]], "1 boxes, 1 labels, 2 crowd flags"),
        ([[0, 0, 1, np.nan]], [0], None, "must be finite, image 0"),
        ([[0, 0, np.inf, 1]], [0], None, "must be finite, image 0"),
    ],
)
def test_what_is_refused(boxes, labels, crowd, words):
    with pytest.raises(ValueError, match=words):
        pad_targets([boxes], [labels], 2, crowd)


def test_more_boxes_than_places_is_no_matter_of_the_first_image():
    with pytest.raises(ValueError, match="image 1 of the batch has 2, places=1"):
        pad_targets([[], [[0, 0, 1, 1]] * 2], [[], [0, 0]], 1)


def test_objects_are_there_of_some_area_and_no_crowds():
    truth = given_truth(
        [[0, 0, 9, 9], [3, 3, 9, 3], [4, 2, 4, 8], [0, 0, 5, 5]],
        [0, 1, 2, 3],
        5,
        [False, False, False, True],
    )
    assert truth.objects.tolist() == [[True, False, False, False, False]]


def test_what_boxes_and_labels_of_matches_are():
    truth = given_truth([[0, 0, 9, 9], [1, 2, 3, 4]], [7, 6])
    boxes, labels = truth.of(jnp.array([[1, BACKGROUND, 0]], jnp.int32))
    assert boxes[0, 0].tolist() == [1, 2, 3, 4]
    assert labels[0, ::2].tolist() == [6, 7]


@pytest.mark.parametrize("places", [0, 3])
def test_without_boxes_all_is_background(places):
    truth = given_truth([], [], places)
    assert set(matched(truth).tolist()) == {BACKGROUND}
    boxes, labels = truth.of(jnp.full((1, 2), BACKGROUND, jnp.int32))
    assert boxes.shape == (1, 2, 4)
    assert labels.shape == (1, 2)


def test_crowds_are_background_or_ignored_where_asked():
    truth = given_truth([[0, 0, 16, 16], [30, 30, 64, 64]], [0, 0], 8, [False, True])
    plain, asked = matched(truth), matched(truth, 0.5)
    assert plain.tolist().count(0) == asked.tolist().count(0) > 0
    assert IGNORED not in plain[32:].tolist()
    within = np.array(
        [x >= 30 and y >= 30 and x <= 48 and y <= 48 for x, y, *_ in GRID]
    )
    assert set(asked[within].tolist()) == {IGNORED}


def test_what_takes_no_part():
    found = assign(given_truth([[0, 0, 16, 16]], [0]), ANCHORS, ~USABLE, RETINANET, 0.5)
    assert set(found.ravel().tolist()) == {UNUSED}


@given(st.permutations(range(4)), st.integers(0, 2**16))
def test_the_order_of_the_ground_truth_changes_only_its_numbers(order, seed):
    """Where no anchor is the best of two boxes, which would go to the later one."""
    drawn = np.random.default_rng(seed)
    quarter = np.array([[0, 0], [32, 0], [0, 32], [32, 32]])
    sides = drawn.uniform(17, 24, (4, 2))
    corner = quarter + drawn.uniform(0, 1, (4, 2)) * (31 - sides)
    boxes, labels = np.concatenate([corner, corner + sides], 1), np.arange(4)
    want, got = (given_truth(boxes[list(n)], labels[list(n)]) for n in (labels, order))
    a, b = matched(want), matched(got)
    np.testing.assert_array_equal(np.minimum(a, 0), np.minimum(b, 0))
    assert len(set(a[a >= 0].tolist())) == 4
    for x, y in zip(want.of(a[None]), got.of(b[None]), strict=True):
        np.testing.assert_array_equal(x[0][a >= 0], y[0][a >= 0])
