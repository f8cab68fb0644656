"""The scale of the loss of a network that computes in float16."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

FIRST = 2.0**16
LARGEST = 2.0**24
# Updates after which a larger scale is tried.
PATIENCE = 2000


@flax.struct.dataclass
class LossScale:
    """What a loss is multiplied by before it is differentiated.

    Gradients below 6e-8 are 0 in float16, so they are computed S times as large and
    divided by S in float32. S is a power of two, which costs no digit; it is as large
    as the gradients allow, since one beyond 65504 is infinite:

    * gradients that are not finite: the update is left out and S halved, down to 1;
    * 2,000 updates since that or the last of these: S is doubled, up to 2^24.

    Reference: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.

    Attributes:
        value: () float32, S.
        good: () int32, updates since then.
        overflows: () int32, of the steps, those whose update was left out for it.
    """

    value: jax.Array
    good: jax.Array
    overflows: jax.Array

    @classmethod
    def first(cls) -> "LossScale":
        """That of the first step, 2^16."""
        counters = (jnp.zeros((), jnp.int32) for _ in range(2))
        return cls(jnp.asarray(FIRST, jnp.float32), *counters)

    def scaled(self, loss_of: Callable[..., tuple[jax.Array, Any]]):
        """The function `loss_of(…) -> (loss, aux)` with S · loss."""

        def scaled_loss_of(*args):
            loss, aux = loss_of(*args)
            return self.value * loss, aux

        return scaled_loss_of

    def unscaled(self, gradients: Any) -> Any:
        """The gradients of the loss, of those of S · loss."""
        return jax.tree.map(lambda g: g / self.value, gradients)

    def after_update(self) -> "LossScale":
        """That of the step after an update."""
        good = self.good + 1
        grows = good == PATIENCE
        larger = jnp.minimum(2 * self.value, LARGEST)
        return LossScale(
            value=jnp.where(grows, larger, self.value),
            good=jnp.where(grows, 0, good),
            overflows=self.overflows,
        )

    def after_overflow(self) -> "LossScale":
        """That of the step after an update left out."""
        return LossScale(
            value=self.value / 2,
            good=jnp.zeros_like(self.good),
            overflows=self.overflows + 1,
        )

    def numbers(self) -> dict[str, float | int]:
        """What a run records of it."""
        return {"loss_scale": float(self.value), "overflows": int(self.overflows)}
