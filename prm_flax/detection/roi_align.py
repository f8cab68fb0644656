"""RoIAlign: what a pyramid's level has within a box, on a grid of 7×7, exactly.

A bin is the mean over ⌈side/7⌉ samples along each axis, side in pixels of the level, so
that a large box has more samples than a small one. A sample is interpolated linearly
between the four nearest pixels; beyond the border by up to one pixel it counts as at
the border, further out as 0. The samples of a bin are a grid and the rule at the border
is separable, too, so that with A the means of the samples' interpolation weights::

    out = A_y F A_xᵀ,    A[p, h] = mean over c in bin p of max(0, 1 - |c - h|)

This is the definition that kernels are held against. The boxes carry no gradient.

Reference: He et al., ICCV 2017, section 3; the aligned form (half a pixel) and the
adaptive grid as in the public detection libraries.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Int32

from prm_flax.detection.boxes import area
from prm_flax.layers.extent import strided

BINS = 7
# A box of 56² has the finest level; each doubling of its side the next one.
FINEST_SIDE = 56
CHUNK = 64  # boxes that a TPU takes at once


class Grid(NamedTuple):
    """How samples are laid out.

    Attributes:
        bins: along each axis.
        samples: of a bin and axis; 0 for ⌈side/bins⌉.
        aligned: pixels are at half-integers; else sides are at least 1 pixel.
    """

    bins: int = BINS
    samples: int = 0
    aligned: bool = True


def levels_of(boxes: Float[Array, "*b 4"], count: int) -> Int32[Array, "*b"]:
    """The level of each box: ⌊log₂(√area/56 + 1e-6)⌋ within 0 … count - 1.

    Example:
        >>> levels_of(jnp.array([[0.0, 0, 112, 112], [0, 0, 8, 8]]), 4).tolist()
        [1, 0]

    Reference: Lin et al., CVPR 2017, equation 1.
    """
    level = jnp.floor(jnp.log2(jnp.sqrt(area(boxes)) / FINEST_SIDE + 1e-6))
    return jnp.clip(level, 0, count - 1).astype(jnp.int32)


def weights(
    start: Float[Array, "*r"],
    end: Float[Array, "*r"],
    length: int,
    grid: Grid,
    own: Any = None,
) -> Float[Array, "*r bins length"]:
    """A, along one axis of a level.

    Args:
        start: of each box, in pixels of the level.
        end: of each box.
        length: pixels of the level.
        grid: the bins and their samples.
        own: how many of the pixels are the image's; None for all.
    """
    dtype = start.dtype
    own = jnp.asarray(length if own is None else own, dtype)
    if grid.aligned:
        start, side = start - 0.5, end - start
    else:
        side = jnp.maximum(end - start, 1)
    adaptive = jnp.ceil(side / grid.bins)
    count = jnp.full_like(side, grid.samples) if grid.samples else adaptive
    bin_ = side / grid.bins
    first = start[..., None] + jnp.arange(grid.bins, dtype=dtype) * bin_[..., None]
    pixels = jnp.arange(length, dtype=dtype)
    divisor = jnp.maximum(count, 1)

    def add(k, total):
        place = first + ((k + 0.5) * bin_ / divisor)[..., None]
        there = (k < count)[..., None] & (place >= -1) & (place <= own)
        place = jnp.clip(place, 0, jnp.maximum(own - 1, 0))[..., None]
        near = jnp.maximum(1 - jnp.abs(place - pixels), 0)
        return total + jnp.where(there[..., None], near, 0)

    most = jnp.max(count, initial=0).astype(jnp.int32)
    zero = jnp.zeros((*start.shape, grid.bins, length), dtype)
    total = lax.fori_loop(0, most, lambda k, total: add(k.astype(dtype), total), zero)
    return total / divisor[..., None, None]


def align(
    features: Float[Array, "h w c"],
    boxes: Float[Array, "r 4"],
    stride: float | int,
    grid: Grid = Grid(),  # noqa: B008  a tuple
    extent: Int[Array, " 2"] | None = None,
    by_bin: bool = False,
) -> Float[Array, "r bins bins c"]:
    """Of one image and level.

    Args:
        features: of the level.
        boxes: in pixels of the image.
        stride: of the level, pixels of the image.
        grid: the bins and their samples.
        extent: the rows and columns of the level that are the image's; None for all.
        by_bin: see `product`.

    Returns:
        (r, bins, bins, c) in the features' dtype.
    """
    h, w, _ = features.shape
    x1, y1, x2, y2 = jnp.moveaxis(lax.stop_gradient(boxes) / stride, -1, 0)
    own_h, own_w = (None, None) if extent is None else extent
    rows, columns = weights(y1, y2, h, grid, own_h), weights(x1, x2, w, grid, own_w)
    return product(rows, columns, features, by_bin)


def product(rows: Any, columns: Any, features: Any, by_bin: bool = False) -> jax.Array:
    """A_y F A_xᵀ, the longer side first: what is between the two is the smaller.

    With `by_bin` the second sum is one for each box and bin of the first, not for each
    box: a GPU's product has its batch in front, and would copy what is between the two.
    """
    dtype = features.dtype
    rows, columns = rows.astype(dtype), columns.astype(dtype)
    (h, w, _), (r, bins, _) = features.shape, rows.shape
    last = columns if h > w else rows
    if by_bin:
        last = jnp.broadcast_to(last[:, None], (r, bins, *last.shape[1:]))
    if h > w:
        half = jnp.einsum("rph,hwc->rpwc", rows, features)
        sums = "rpqw,rpwc->rpqc" if by_bin else "rqw,rpwc->rpqc"
    else:
        half = jnp.einsum("rqw,hwc->rqhc", columns, features)
        sums = "rqph,rqhc->rpqc" if by_bin else "rph,rqhc->rpqc"
    return jnp.einsum(sums, last, half)


def align_pyramid(
    levels: tuple[Float[Array, "_ _ c"], ...],
    strides: tuple[int, ...],
    boxes: Float[Array, "r 4"],
    extent: Int[Array, " 2"] | None = None,
    by_bin: bool = False,
) -> Float[Array, "r bins bins c"]:
    """Each box from its own level of one image's pyramid.

    Args:
        levels: finest first, of strides that double.
        strides: pixels of the image.
        boxes: in pixels of the image.
        extent: the rows and columns of the finest level that are the image's; None for
            all.
        by_bin: see `product`.
    """
    own = levels_of(boxes, len(levels))
    total = jnp.zeros((), levels[0].dtype)
    for k, (features, stride) in enumerate(zip(levels, strides, strict=True)):
        own_boxes = jnp.where((own == k)[:, None], boxes, 0)
        found = align(features, own_boxes, stride, extent=extent, by_bin=by_bin)
        extent = strided(extent, 2)
        total = total + jnp.where((own == k)[:, None, None, None], found, 0)
    return total


def align_images(
    levels: tuple[Float[Array, "b _ _ c"], ...],
    strides: tuple[int, ...],
    boxes: Float[Array, "b r 4"],
    extents: Int[Array, "b 2"] | None = None,
) -> Float[Array, "b r bins bins c"]:
    """`align_pyramid` of every image, in the form that suits the device.

    Args:
        levels: finest first, of strides that double.
        strides: pixels of the image.
        boxes: of each image, in its pixels.
        extents: the rows and columns of the finest level that are the images'; None for
            all.
    """
    default, tpu = partial(at_once, strides), partial(in_turn, strides)
    return lax.platform_dependent(levels, boxes, extents, default=default, tpu=tpu)


def at_once(
    strides: tuple[int, ...], levels: Any, boxes: Any, extents: Any
) -> jax.Array:
    """One product of all images and boxes."""

    def of_image(levels: Any, boxes: Any, extent: Any) -> jax.Array:
        return align_pyramid(levels, strides, boxes, extent, by_bin=True)

    axes = 0, 0, None if extents is None else 0
    return jax.vmap(of_image, axes)(levels, boxes, extents)


def in_turn(
    strides: tuple[int, ...], levels: Any, boxes: Any, extents: Any
) -> jax.Array:
    """64 boxes of one image after the other.

    What is between the two products then stays on a TPU: a twentieth of the traffic.
    """

    def of_image(each: tuple[Any, Any, Any]) -> jax.Array:
        levels, chunks, extent = each

        def of_chunk(boxes: Any) -> jax.Array:
            return align_pyramid(levels, strides, boxes, extent)

        return lax.map(of_chunk, chunks)

    b, r, _ = boxes.shape
    padded = jnp.pad(boxes, ((0, 0), (0, -r % CHUNK), (0, 0)))
    chunks = padded.reshape(b, padded.shape[1] // CHUNK, CHUNK, 4)
    found = lax.map(of_image, (levels, chunks, extents))
    return found.reshape(b, padded.shape[1], *found.shape[3:])[:, :r]
