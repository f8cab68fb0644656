"""Losses, by numbers written by hand, and finite wherever logits are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prm_flax.detection.losses import (
    binary_cross_entropy,
    cross_entropy,
    focal,
    smooth_l1,
)


def test_focal_by_hand():
    """Two classes, logits of probabilities .2 and .5; then the same as background."""
    logits = jnp.log(jnp.array([[0.2, 0.5]]) / jnp.array([[0.8, 0.5]]))
    own = 0.25 * 0.8**2 * -np.log(0.2)
    other, background = 0.75 * 0.25 * np.log(2), 0.75 * 0.2**2 * -np.log(0.8)
    np.testing.assert_allclose(focal(logits, jnp.array([0])), [[own, other]], 1e-5)
    for none in (2, -1):
        got = focal(logits, jnp.array([none]))
        np.testing.assert_allclose(got, [[background, other]], 1e-5)


def test_smooth_l1_by_hand():
    got = smooth_l1(jnp.array([-2.0, -0.5, 0.0, 0.5, 1.0, 3.0]), 1.0)
    np.testing.assert_allclose(got, [1.5, 0.125, 0, 0.125, 0.5, 2.5])


def test_entropies_by_hand():
    logits = jnp.log(jnp.array([0.25 / 0.75]))
    np.testing.assert_allclose(
        binary_cross_entropy(logits, jnp.array([True])), [np.log(4)], rtol=1e-6
    )
    np.testing.assert_allclose(
        binary_cross_entropy(logits, jnp.array([False])), [np.log(4 / 3)], rtol=1e-6
    )
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([2])), [np.log(4)], 1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gradients_are_finite_at_any_logit(dtype, x64):
    logits = jnp.array([[-1e4, -90.0, 0.0, 90.0, 1e4]], dtype)

    def total(logits):
        found = [focal(logits, jnp.array([label])).sum() for label in (-1, 0, 4)]
        entropies = binary_cross_entropy(logits, logits < 0), smooth_l1(logits, 0.11)
        return sum(found) + sum(each.sum() for each in entropies)

    value, gradient = jax.value_and_grad(total)(logits)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()
