"""1×1 convolutions, each platform's own way."""

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax

from prm_flax.layers.device import device


def pointwise(x, kernel, strides: Sequence[int], padding, **options: Any) -> jax.Array:
    """A 1×1 convolution, in the place of `nn.Conv`'s `conv_general_dilated`.

    On a CPU a product of matrices: XLA runs it faster there. Not on a GPU, where a
    convolution takes in more of its neighbours.

    Args:
        x: (b, h, w, c).
        kernel: (1, 1, c, d).
        strides: of rows and columns.
        padding: none, whatever it is called.
        **options: `lax.conv_general_dilated`'s.

    Returns:
        (b, ⌈h/stride⌉, ⌈w/stride⌉, d).
    """
    if device().platform == "cpu":
        return product(x, kernel, strides, options.get("precision"))
    return lax.conv_general_dilated(x, kernel, strides, padding, **options)


def product(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    precision: Any = None,
) -> jax.Array:
    """A 1×1 convolution as `lax.dot_general`; arguments as `pointwise` has them."""
    down, across = strides
    return lax.dot_general(
        x[:, ::down, ::across],
        kernel[0, 0],
        (((3,), (0,)), ((), ())),
        precision=precision,
    )
