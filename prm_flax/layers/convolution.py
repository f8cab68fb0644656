"""Convolutions, each platform's own way.

XLA's CPU compiler has fast programs for products of matrices and for dense
convolutions. Of convolutions in groups its backward pass took 4 to 100 times as long
as the forms here, and its forward pass up to 40 times (3×3, maps of 4×4 to 64×64).
On a GPU or TPU a convolution is one: there it takes in more of its neighbours. But not
one in groups on a mesh of several auto axes, where XLA may get its gradient wrong, see
`without_idle_axes`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from prm_flax.layers.device import device
from prm_flax.layers.explicit import may_have_idle_axes, without_idle_axes
from prm_flax.layers.precision import wide

Padding = Sequence[tuple[int, int]]


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Padding,
    **options: Any,
) -> jax.Array:
    """A convolution in the place of `nn.Conv`'s `conv_general_dilated`.

    Args:
        x: (b, h, w, c).
        kernel: (rows, columns, c / groups, d).
        strides: of rows and columns.
        padding: zeros above and below, left and right.
        **options: `lax.conv_general_dilated`'s, without dilation.

    Returns:
        (b, h', w', d).
    """
    apart = options.get("feature_group_count", 1) > 1 and may_have_idle_axes()
    separate = device().platform == "cpu" or apart
    form = on_cpu if separate else lax.conv_general_dilated

    def run(x, kernel):
        return form(x, kernel, strides, padding, **options)

    return without_idle_axes(run, x, kernel)


def on_cpu(x, kernel, strides, padding, *, feature_group_count: int = 1, **options):
    """The same in the form that XLA runs fast on a CPU; arguments as `convolve`'s."""
    *size, inputs, features = kernel.shape
    if size == [1, 1] and feature_group_count == 1:
        return product(x, kernel, strides, options.get("precision"))
    if inputs == 1 and features == feature_group_count:
        return shifted(x, kernel, strides, padding)
    if feature_group_count > 1:
        kernel = block_diagonal(kernel, feature_group_count)
    return lax.conv_general_dilated(x, kernel, strides, padding, **options)


def product(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    precision: Any = None,
) -> jax.Array:
    """A 1×1 convolution as `lax.dot_general`."""
    down, across = strides
    return lax.dot_general(
        x[:, ::down, ::across],
        kernel[0, 0],
        (((3,), (0,)), ((), ())),
        precision=precision,
    )


def shifted(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Padding
) -> jax.Array:
    """A depthwise convolution as a sum over the kernel of the map moved by a pixel.

        y_ij = Σ_pq k_pq x_(s·i + p)(s·j + q)

    Args:
        x: (b, h, w, c).
        kernel: (rows, columns, 1, c).
        strides: of rows and columns.
        padding: as in `convolve`.

    Returns:
        (b, h', w', c) in x's dtype, summed in float32 at least.
    """
    core = wide(x.dtype)
    padded = jnp.pad(x.astype(core), ((0, 0), *padding, (0, 0)))
    b, h, w, c = padded.shape
    rows, columns = kernel.shape[:2]
    down, across = strides
    # Of the last row and column that a kernel starts at.
    h, w = (h - rows) // down * down + 1, (w - columns) // across * across + 1
    total = jnp.zeros((), core)
    for p, q in np.ndindex(rows, columns):
        moved = lax.slice(
            padded, (0, p, q, 0), (b, p + h, q + w, c), (1, down, across, 1)
        )
        total = total + moved * kernel[p, q, 0].astype(core)
    return total.astype(x.dtype)


def block_diagonal(kernel: jax.Array, groups: int) -> jax.Array:
    """The dense kernel of a convolution in groups, 0 from one group to another.

    Args:
        kernel: (rows, columns, c / groups, d).
        groups: must divide d.

    Returns:
        (rows, columns, c, d).
    """
    inputs, features = kernel.shape[2:]
    of_input = np.repeat(np.arange(groups), inputs)
    of_feature = np.repeat(np.arange(groups), features // groups)
    same = of_input[:, None] == of_feature
    return jnp.where(same, jnp.tile(kernel, (1, 1, groups, 1)), 0)
