"""The moving average of the weights, evaluated beside them."""

import math
from typing import Any

import jax
import jax.numpy as jnp


def moved_average(average: Any, new: Any, updates: jax.Array, decay: float) -> Any:
    """The geometric average of all values so far, the newest included.

    With p_s the value after update s and d the decay::

        average_t = Σ_s d^(t-s) p_s / Σ_s d^(t-s),   s = 1 … t
                  = average_(t-1) + (1 - d) / (1 - d^t) · (p_t - average_(t-1))

    The first is p_1 itself: nothing of the initial values is in it, so there is no
    bias to correct.

    Args:
        average: tree of average_(t-1).
        new: the same tree of p_t.
        updates: () integer, t.
        decay: d, in (0, 1).

    Returns:
        The tree of average_t, in the dtypes of `average`.
    """
    # 1 - d^t loses digits for a d near 1 and a small t; expm1 does not.
    share = (1 - decay) / -jnp.expm1(updates * math.log(decay))

    def move(old, value):
        weight = share.astype(old.dtype)
        return (1 - weight) * old + weight * value

    return jax.tree.map(move, average, new)
