"""Losses, elementwise and unreduced; who sums decides what to divide by."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def focal(
    logits: Float[Array, "*b classes"],
    labels: Int[Array, "*b"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Array, "*b classes"]:
    """Focal loss of one sigmoid a class.

    With p the sigmoid, t = 1 for an element's own class and 0 else, and p_t, α_t the
    values for t = 1, one less them for t = 0::

        FL = -α_t (1 - p_t)^γ log p_t

    Labels are compared in place: there is no one-hot array.

    Args:
        logits: (..., classes).
        labels: 0 … classes - 1; any other number is background.
        alpha: α.
        gamma: γ.

    Example:
        >>> float(focal(jnp.zeros((1, 1)), jnp.array([0]))[0, 0])
        0.04332169...

    Reference: Lin et al., ICCV 2017, equation 5.
    """
    classes = jnp.arange(logits.shape[-1]).reshape((1,) * labels.ndim + (-1,))
    own = labels[..., None] == classes
    p = jax.nn.sigmoid(logits)
    wrong = jnp.where(own, 1 - p, p)  # 1 - p_t
    entropy = jax.nn.softplus(jnp.where(own, -logits, logits))  # -log p_t
    return jnp.where(own, alpha, 1 - alpha) * wrong**gamma * entropy


def smooth_l1(difference: Float[Array, "*b"], beta: float) -> Float[Array, "*b"]:
    """d²/2β for |d| < β, |d| - β/2 beyond.

    Example:
        >>> smooth_l1(jnp.array([0.5, 2.0]), 1.0).tolist()
        [0.125, 1.5]

    Reference: Girshick, ICCV 2015, equation 3, with β.
    """
    size = jnp.abs(difference)
    near = size < beta
    return jnp.where(near, jnp.square(difference) / (2 * beta), size - beta / 2)


def binary_cross_entropy(
    logits: Float[Array, "*b"], positive: Array
) -> Float[Array, "*b"]:
    """-log sigmoid(logit) where positive, -log sigmoid(-logit) elsewhere."""
    return jax.nn.softplus(jnp.where(positive, -logits, logits))


def cross_entropy(
    logits: Float[Array, "*b classes"], labels: Int[Array, "*b"]
) -> Float[Array, "*b"]:
    """-log softmax of the label's logit."""
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked
