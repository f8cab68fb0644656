"""What a detector sees of a backbone: a few of its stages, and where images end.

Images come padded, at the bottom and at the right, to one size of a multiple of 32. An
image's extent is its own size rounded up to 32, as if it were padded alone; what is
beyond is kept at 0 in every map.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prm_flax.layers.extent import cut, strided

MULTIPLE = 32

Norms = Literal["running", "batch"]
# (name, channels, stride), as in a network's `feature_info`.
Stage = tuple[str, int, int]


def last_stages(backbone: nn.Module, count: int) -> tuple[Stage, ...]:
    """The last stage of each stride, the coarsest `count` of them, finest first.

    Example:
        >>> from prm_flax import create_model
        >>> last_stages(create_model("mobilenet_v2"), 2)
        (('stage5', 96, 16), ('stage7', 320, 32))
    """
    info: Any = backbone
    by_stride = {stage[2]: stage for stage in info.feature_info}
    return tuple(by_stride.values())[-count:]


def extent_of(sizes: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """The extents (b, 2) of images of their own sizes (b, 2) padded to h × w."""
    rounded = -(-sizes // MULTIPLE) * MULTIPLE
    return jnp.minimum(rounded, jnp.asarray([size], sizes.dtype))


def enter(images: jax.Array, sizes: jax.Array | None) -> tuple[jax.Array, Any]:
    """Images that are 0 beyond their own size, and their extents or None.

    Raises:
        ValueError: images or sizes of another shape.
    """
    if images.ndim != 4 or images.shape[1] % MULTIPLE or images.shape[2] % MULTIPLE:
        raise ValueError(
            f"A detector takes images (b, h, w, c) padded to multiples of {MULTIPLE}, "
            f"at the bottom and at the right, got {images.shape}."
        )
    if sizes is None:
        return images, None
    b = images.shape[0]
    if sizes.shape != (b, 2) or not jnp.issubdtype(sizes.dtype, jnp.integer):
        raise ValueError(
            f"sizes must be each image's rows and columns before the padding, integers "
            f"({b}, 2); got {sizes.dtype} {sizes.shape}."
        )
    return cut(images, sizes), extent_of(sizes, images.shape[1:3])


def extents_of(extent: Any, strides: tuple[int, ...]) -> tuple[Any, ...]:
    """The extents of maps of some strides; Nones for None."""
    return tuple(strided(extent, stride) for stride in strides)


def own_sizes(
    sizes: Any, count: Any, size: tuple[int, ...], dtype: Any
) -> Float[Array, "b 2"]:
    """The images' rows and columns, floating; those of all `count` images for None."""
    if sizes is None:
        return jnp.broadcast_to(jnp.asarray(size, dtype), (count, 2))
    return sizes.astype(dtype)


def features(
    backbone: Any, images: jax.Array, extent: Any, train: bool = False
) -> dict[str, jax.Array]:
    """The backbone's stages, 0 outside of the extent.

    Args:
        backbone: with `features_only`.
        images: (b, h, w, c).
        extent: (b, 2), or None.
        train: its norms use the batch's statistics, which count the padding, as in
            every detector trained so; else their running ones.
    """
    if not train:
        given = {} if extent is None else {"extent": extent}
        return backbone(images, train=False, **given)
    found = backbone(images, train=True)
    return {
        name: cut(found[name], strided(extent, stride))
        for name, _, stride in backbone.feature_info
    }


def enlarged(x: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """(b, h, w, c) enlarged to `size` by repeating the nearest pixel."""
    for axis, length in enumerate(size, start=1):
        times, rest = divmod(length, x.shape[axis])
        if rest:
            nearest = jnp.arange(length) * x.shape[axis] // length
            x = jnp.take(x, nearest, axis=axis)
        else:
            x = jnp.repeat(x, times, axis=axis)
    return x
