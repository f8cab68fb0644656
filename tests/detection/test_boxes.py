"""Boxes, by numbers written by hand and by laws."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_flax.detection.boxes import (
    LARGEST_RATIO,
    area,
    clip,
    covered,
    decode,
    encode,
    iou,
)

A = jnp.array([[0.0, 0, 4, 4], [2, 2, 2, 2]])
B = jnp.array([[0.0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4], [1, 1, 3, 2], [5, 1, 5, 3]])


def boxes_of(seed, count=6):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 100, (count, 2))
    return jnp.asarray(np.concatenate([low, low + rng.uniform(1, 60, (count, 2))], -1))


def test_overlaps_by_hand():
    """The same, half of it, beside it, inside it, and boxes of no area."""
    np.testing.assert_allclose(iou(A, B), [[1, 8 / 24, 0, 2 / 16, 0], [0] * 5])
    np.testing.assert_allclose(covered(A, B)[0], [1, 0.5, 0, 1, 0])
    np.testing.assert_array_equal(area(B), [16, 16, 16, 2, 0])


def test_deltas_by_hand():
    box, target = jnp.array([10.0, 10, 30, 50]), jnp.array([15.0, 10, 35, 90])
    deltas = [5 / 20, 20 / 40, 0, np.log(2)]
    np.testing.assert_allclose(encode(box, target), deltas, rtol=1e-6)
    stds = (0.1, 0.1, 0.2, 0.2)
    np.testing.assert_allclose(
        encode(box, target, stds), np.divide(deltas, stds), rtol=1e-6
    )
    np.testing.assert_allclose(
        decode(box, jnp.array(deltas, jnp.float32)), target, rtol=1e-6
    )


def test_sides_grow_by_62_5_at_most():
    far = decode(jnp.array([0.0, 0, 8, 8]), jnp.array([0.0, 0, 100, -100]))
    np.testing.assert_allclose(far[2] - far[0], 8 * 62.5, rtol=1e-5)
    np.testing.assert_allclose(far[3] - far[1], 8 / 62.5, rtol=1e-4)
    assert np.exp(LARGEST_RATIO) == pytest.approx(62.5)


def test_a_box_of_no_height_has_finite_deltas():
    flat = jnp.array([3.0, 3, 8, 3])
    assert jnp.isfinite(encode(flat, A[0])).all()
    assert jnp.isfinite(encode(A[0], flat)).all()


def test_clipped_to_rows_and_columns():
    """Of an image of 10 rows and 20 columns."""
    wide = jnp.array([[-5.0, -5, 50, 50]])
    assert clip(wide, jnp.array([10.0, 20.0])).tolist() == [[0, 0, 20, 10]]


@given(st.integers(0, 2**16))
def test_decode_undoes_encode(x64, seed):
    own, targets = boxes_of(seed), boxes_of(seed + 1)
    back = decode(own, encode(own, targets))
    np.testing.assert_allclose(back, targets, rtol=0, atol=1e-9)


@given(st.integers(0, 2**16), st.floats(0.1, 10), st.floats(-50, 50))
def test_overlaps_and_deltas_stay_when_both_are_moved_and_scaled(x64, seed, k, t):
    a, b = boxes_of(seed), boxes_of(seed + 1)
    np.testing.assert_allclose(iou(k * a + t, k * b + t), iou(a, b), atol=1e-9)
    np.testing.assert_allclose(encode(k * a + t, k * b + t), encode(a, b), atol=1e-9)
    np.testing.assert_allclose(iou(a, b), iou(b, a).T, atol=1e-12)
