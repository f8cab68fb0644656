"""What the modules share: checks, the precision of the core, the two dense layers."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from prm_flax.layers.basic import ReLU, uniform
from prm_flax.layers.extent import cut
from prm_flax.layers.precision import wide
from prm_flax.prm.checks import check_extent, check_shape


def check_positive(**values: Any) -> None:
    """Raises ValueError if a value is no positive integer."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}.")


def enter(
    x: ArrayLike, dtype: Any, groups: int = 1, extent: jax.Array | None = None
) -> tuple[jax.Array, Any]:
    """Checks a module's input and takes it to the precision of the computation.

    Sums over positions and channels in bfloat16 or float16 lose what the gates are
    made of, so modules compute in float32, in float64 for float64 input.

    Args:
        x: (b, h, w, c), floating.
        dtype: the module's; x is first cast to it unless it is None.
        groups: what must divide c.
        extent: (b, 2), the rows and columns of each map that are its image's, or None.

    Returns:
        x, 0 outside its extent, in float32 or wider, and the dtype that the result
        must have.

    Raises:
        ValueError: other axes than four, an empty one, or groups that do not divide c.
        TypeError: x is not floating.
    """
    x = jnp.asarray(x)
    if x.ndim != 4:
        raise ValueError(
            f"x must have axes (batch, height, width, channels), got shape {x.shape}; "
            "a single image is x[None]."
        )
    check_shape(x.shape, x.dtype, groups)
    check_extent(x, extent)
    x = cut(x if dtype is None else x.astype(dtype), extent)
    return x.astype(wide(x.dtype)), x.dtype


def reduced(channels: int, reduction: int) -> int:
    """⌊channels / reduction⌋, at least 1: the narrow layer's width."""
    return max(channels // reduction, 1)


def two_dense(
    z: Float[Array, "*b c"], reduction: int, names: tuple[str, str], param_dtype: Any
) -> Float[Array, "*b c"]:
    """W₂ relu(W₁ z + b₁) + b₂, W₁ of c/reduction rows; layers of the calling module."""

    def dense(features: int, inputs: int, name: str) -> nn.Dense:
        init = uniform(1 / math.sqrt(inputs))
        return nn.Dense(
            features,
            dtype=z.dtype,
            param_dtype=param_dtype,
            kernel_init=init,
            bias_init=init,
            name=name,
        )

    channels = z.shape[-1]
    hidden = reduced(channels, reduction)
    z = ReLU()(dense(hidden, channels, names[0])(z))
    return dense(channels, hidden, names[1])(z)
