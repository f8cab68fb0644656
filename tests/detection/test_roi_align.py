"""RoIAlign in matrix form equals the loop over bins and samples."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_flax.detection.roi_align import (
    CHUNK,
    Grid,
    align,
    align_pyramid,
    at_once,
    in_turn,
    levels_of,
)

H, W, C = 9, 12, 3


def interpolated(features, y, x):
    """At one place; its border rule."""
    h, w, _ = features.shape
    if not (-1 <= y <= h and -1 <= x <= w):
        return np.zeros(features.shape[-1])
    y, x = np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)
    top, left = min(int(y), max(h - 2, 0)), min(int(x), max(w - 2, 0))
    low, right = min(top + 1, h - 1), min(left + 1, w - 1)
    v, u = y - top, x - left
    upper = (1 - u) * features[top, left] + u * features[top, right]
    lower = (1 - u) * features[low, left] + u * features[low, right]
    return (1 - v) * upper + v * lower


def loop(features, box, stride):
    """Bins, and in each its ⌈side/7⌉² samples."""
    x1, y1, x2, y2 = np.asarray(box) / stride - 0.5
    rows, columns = math.ceil((y2 - y1) / 7), math.ceil((x2 - x1) / 7)
    out = np.zeros((7, 7, features.shape[-1]))
    for p, q in np.ndindex(7, 7):
        for i, j in np.ndindex(rows, columns):
            y = y1 + (p + (i + 0.5) / rows) * (y2 - y1) / 7
            x = x1 + (q + (j + 0.5) / columns) * (x2 - x1) / 7
            out[p, q] += interpolated(features, y, x) / (rows * columns)
    return out


def features(seed=0, h=H, w=W):
    return np.random.default_rng(seed).normal(size=(h, w, C))


# Inside, over each border, small, flat, larger than all, outside, of no area.
BOXES = np.array(
    [
        [4.0, 4, 30, 20],
        [-9, -7, 12, 50],
        [33, 2, 60, 41],
        [11, 9, 11.5, 9.25],
        [0, 14, 48, 15],
        [-40, -40, 90, 90],
        [70, 70, 90, 90],
        [5, 5, 5, 5],
    ]
)


@pytest.mark.parametrize("size", [(H, W), (W, H)])
def test_as_the_loop(size, x64):
    x = features(0, *size)
    got = jax.jit(align, static_argnums=2)(jnp.asarray(x), jnp.asarray(BOXES), 4.0)
    want = [loop(x, box, 4.0) for box in BOXES]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


def test_by_hand():
    """One sample a bin, on the pixels' centres: the features themselves."""
    x = jnp.asarray(features(), jnp.float32)
    box = jnp.array([[8.0, 4, 36, 32]])  # columns 2 to 9, rows 1 to 8, of 4 pixels
    np.testing.assert_allclose(align(x, box, 4.0)[0], x[1:8, 2:9], rtol=1e-5)


def test_what_is_beyond_the_extent_is_beyond_the_border(x64):
    x, (h, w) = features(), (6, 7)
    other = np.where(np.arange(H)[:, None, None] < h, x, 1e9)
    other = np.where(np.arange(W)[:, None] < w, other, 1e9)
    got = align(jnp.asarray(other), jnp.asarray(BOXES), 4.0, extent=jnp.array([h, w]))
    want = align(jnp.asarray(x[:h, :w]), jnp.asarray(BOXES), 4.0)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


def test_gradients_reach_the_features_and_not_the_boxes(x64):
    r = np.random.default_rng(1).normal(size=(len(BOXES), 7, 7, C))

    def total(x, boxes):
        return (align(x, boxes, 4.0) * r).sum()

    x, boxes = jnp.asarray(features()), jnp.asarray(BOXES)
    to_x, to_boxes = jax.grad(total, (0, 1))(x, boxes)
    assert not to_boxes.any()
    # It is linear: the gradient's product with x is the value.
    np.testing.assert_allclose((to_x * x).sum(), total(x, boxes), rtol=1e-10)


def test_each_box_has_its_own_level(x64):
    levels = tuple(jnp.asarray(features(k, 64 >> k, 48 >> k)) for k in range(4))
    sides = np.array([20, 111, 113, 230, 900])
    boxes = jnp.asarray(np.stack([0 * sides, 0 * sides, sides, sides], -1), float)
    assert levels_of(boxes, 4).tolist() == [0, 0, 1, 2, 3]
    got = align_pyramid(levels, (4, 8, 16, 32), boxes)
    for box, level, one in zip(boxes, [0, 0, 1, 2, 3], got, strict=True):
        want = align(levels[level], box[None], 4.0 * 2**level)[0]
        np.testing.assert_allclose(one, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(16, 12), (12, 16)])
def test_a_tpu_s_form_is_the_other_one(size, x64):
    """Two images of their own extents, more boxes than are taken at once."""
    drawn = np.random.default_rng(0)
    corner = drawn.uniform(-9, 60, (2, CHUNK + 6, 2))
    sides = np.exp(drawn.uniform(0, 6, corner.shape))
    boxes = jnp.asarray(np.concatenate([corner, corner + sides], -1))
    levels = tuple(
        jnp.stack([features(k + 4 * i, *(n >> k for n in size)) for i in range(2)])
        for k in range(3)
    )
    extents = jnp.array([size, [10, 9]])
    r = drawn.normal(size=(2, CHUNK + 6, 7, 7, C))

    @functools.partial(jax.jit, static_argnums=0)
    def run(form, levels):
        def total(levels):
            found = form((4, 8, 16), levels, boxes, extents)
            return (found * r).sum(), found

        return jax.value_and_grad(total, has_aux=True)(levels)

    near = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
    jax.tree.map(near, run(in_turn, levels), run(at_once, levels))


@pytest.mark.parametrize("samples", [1, 2])
def test_a_fixed_number_of_samples(samples, x64):
    """Of sides up to 7 pixels, the adaptive grid has one sample a bin."""
    x, box = jnp.asarray(features()), jnp.asarray(BOXES[:1])
    fixed = functools.partial(align, x, box, grid=Grid(samples=samples))
    same = np.allclose(fixed(stride=4.0), align(x, box, 4.0))
    assert same == (samples == 1)
