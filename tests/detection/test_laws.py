"""What a move by a stride, or a flip, does to anchors, assignments and boxes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prm_flax.detection import pad_targets, retinanet
from prm_flax.detection.dense import DenseOutputs
from prm_flax.detection.matching import BACKGROUND
from prm_flax.detection.roi_align import align
from prm_flax.detection.targets import Targets

STRIDE, SIDE, INNER, CLASSES = 8, 32, 8, 2
WHOLE = jnp.full((1, 2), 1e6)  # images so large that nothing is clipped on the right
SEEDS = st.integers(0, 2**16)
MOVES = st.tuples(st.integers(-3, 3), st.integers(-3, 3))


def maps(seed):
    """Something said in the middle of a map, nothing around: it is clipped nowhere."""
    drawn = np.random.default_rng(seed)
    logits = np.full((1, SIDE, SIDE, 9, CLASSES), -9.0)
    deltas = np.zeros((1, SIDE, SIDE, 9, 4))
    first = (SIDE - INNER) // 2
    within = np.s_[:, first : first + INNER, first : first + INNER]
    logits[within] = drawn.normal(size=logits[within].shape)
    deltas[within] = drawn.normal(0, 0.2, deltas[within].shape)
    return logits, deltas


@functools.partial(jax.jit)
def found(logits, deltas):
    outputs = DenseOutputs((logits,), (deltas,))
    return retinanet.candidates(outputs, (STRIDE,), (None,), WHOLE, 0.05)


def of(logits, deltas):
    """Boxes by score, which has no ties."""
    got = found(jnp.asarray(logits), jnp.asarray(deltas))
    return np.asarray(got.boxes[0]), np.asarray(got.scores[0])


@given(SEEDS, MOVES)
def test_a_move_by_positions_moves_boxes_by_strides(x64, seed, move):
    logits, deltas = maps(seed)
    boxes, scores = of(logits, deltas)
    moved = (np.roll(each, move, (1, 2)) for each in (logits, deltas))
    got, same = of(*moved)
    np.testing.assert_array_equal(same, scores)
    there = scores > 0.05
    dy, dx = STRIDE * np.array(move)
    want = boxes + np.array([dx, dy, dx, dy])
    np.testing.assert_allclose(got[there], want[there], 0, 1e-9)


@given(SEEDS)
def test_flipped_outputs_are_flipped_boxes(x64, seed):
    logits, deltas = maps(seed)
    boxes, scores = of(logits, deltas)
    mirrored = deltas[:, :, ::-1] * np.array([-1, 1, 1, 1])
    got, same = of(logits[:, :, ::-1], mirrored)
    np.testing.assert_array_equal(same, scores)
    there, last = scores > 0.05, (SIDE - 1) * STRIDE
    want = boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + [last, 0, last, 0]
    np.testing.assert_allclose(got[there], want[there], 0, 1e-9)


@jax.jit
def assigned(boxes):
    truth = pad_targets([np.zeros((3, 4))], [[0, 1, 0]], 3)
    targets = Targets(*map(jnp.asarray, truth))._replace(boxes=boxes[None])
    outputs = DenseOutputs(
        (jnp.zeros((1, SIDE, SIDE, 9, CLASSES)),), (jnp.zeros((1, SIDE, SIDE, 9, 4)),)
    )
    _, matched = retinanet.assigned(outputs, (STRIDE,), (None,), targets)
    return matched.reshape(SIDE, SIDE, 9)


def ground_truth(seed):
    """Boxes in the middle of the image."""
    drawn = np.random.default_rng(seed)
    corner = drawn.uniform(80, 110, (3, 2))
    return np.concatenate([corner, corner + drawn.uniform(20, 60, (3, 2))], 1)


@given(SEEDS, MOVES)
def test_a_move_of_the_ground_truth_moves_its_anchors(x64, seed, move):
    boxes = ground_truth(seed)
    dy, dx = STRIDE * np.array(move)
    want = np.roll(assigned(jnp.asarray(boxes)), move, (0, 1))
    got = assigned(jnp.asarray(boxes + np.array([dx, dy, dx, dy])))
    np.testing.assert_array_equal(got, want)
    assert (want > BACKGROUND).any()


@given(SEEDS)
def test_flipped_ground_truth_has_flipped_anchors(x64, seed):
    boxes, last = ground_truth(seed), (SIDE - 1) * STRIDE
    flipped = boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + [last, 0, last, 0]
    want = assigned(jnp.asarray(boxes))[:, ::-1]
    np.testing.assert_array_equal(assigned(jnp.asarray(flipped)), want)


@jax.jit
def aligned(features, boxes):
    return align(features, boxes, 4)


@given(SEEDS, MOVES)
def test_features_and_boxes_moved_together_align_to_the_same(x64, seed, move):
    drawn = np.random.default_rng(seed)
    x = np.zeros((20, 20, 2))
    x[5:15, 5:15] = drawn.normal(size=(10, 10, 2))
    corner = drawn.uniform(16, 40, (4, 2))
    boxes = np.concatenate([corner, corner + drawn.uniform(1, 20, (4, 2))], 1)
    dy, dx = 4 * np.array(move)
    got = aligned(
        jnp.asarray(np.roll(x, move, (0, 1))),
        jnp.asarray(boxes + np.array([dx, dy, dx, dy])),
    )
    np.testing.assert_allclose(got, aligned(jnp.asarray(x), jnp.asarray(boxes)), 1e-9)


@given(SEEDS)
def test_flipped_features_and_boxes_align_to_what_is_flipped(x64, seed):
    drawn = np.random.default_rng(seed)
    x = drawn.normal(size=(20, 20, 2))
    corner = drawn.uniform(0, 40, (4, 2))
    boxes = np.concatenate([corner, corner + drawn.uniform(1, 60, (4, 2))], 1)
    flipped = boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + [80, 0, 80, 0]
    got = aligned(jnp.asarray(x[:, ::-1]), jnp.asarray(flipped))
    want = aligned(jnp.asarray(x), jnp.asarray(boxes))[:, :, ::-1]
    np.testing.assert_allclose(got, want, 1e-9, 1e-9)
