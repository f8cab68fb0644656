"""Mixup and CutMix on the device: an image and its neighbour become two mixed ones.

References: Zhang et al. 2018, arXiv:1710.09412 (mixup); Yun et al. 2019,
arXiv:1905.04899 (CutMix).
"""

from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax


class Mix(Protocol):
    """`mix(key, images (b, h, w, c), targets (b, k))` -> both, mixed."""

    def __call__(
        self,
        key: jax.Array,
        images: jax.Array,
        targets: jax.Array,
        *,
        axis: str | None = None,
        shards: int = 1,
    ) -> tuple[jax.Array, jax.Array]:
        """Mixes floats, by the same key on all devices.

        Under pmap `axis` is the mapped axis and b one device's share, under jit
        `shards` devices share b. Raises ValueError for a device's share that is odd.
        """
        ...


class MixDraws(NamedTuple):
    """What chance decides of p pairs.

    Attributes:
        cut: (p,) whether CutMix is used, else mixup.
        own: (p,) λ, what an image keeps of itself.
        centre: (p, 2) of CutMix's box, as shares of the height and the width.
    """

    cut: jax.Array
    own: jax.Array
    centre: jax.Array


def make_mix(mixup_alpha: float, cutmix_alpha: float) -> Mix | None:
    """Makes the function that mixes, None when both α are 0.

    With λ ~ Beta(α, α) of the pair (i, j), j = i ^ 1 being i's neighbour::

        mixup:   x_i ← λ x_i + (1 - λ) x_j
        CutMix:  x_i ← x_j in a box, as long in each direction as √(1 - λ) of the
                 image and about a uniformly drawn centre, where both overlap;
                 λ ← 1 - pixels of the box / pixels of the image
        both:    t_i ← λ t_i + (1 - λ) t_j

    and j likewise with the same λ and box. The order of the images is shuffled, so a
    neighbour is as random a partner as any, and lies on the same device. With both α
    given each pair tosses a coin.

    The draws are the whole batch's: the result does not depend on the devices. A pixel
    is in the box when its centre is; the authors' program rounds the corners instead.

    Args:
        mixup_alpha: mixup's α, 0 for none.
        cutmix_alpha: CutMix's α, 0 for none.
    """
    if mixup_alpha == cutmix_alpha == 0:
        return None
    return partial(_mix, alphas=(mixup_alpha, cutmix_alpha))


def _mix(key, images, targets, *, alphas, axis: str | None = None, shards: int = 1):
    if images.shape[0] % (2 * shards):
        raise ValueError(
            f"Every device must hold whole pairs of images to mix them: "
            f"{images.shape[0]} images, {shards} devices. Make batch_size a multiple "
            "of twice the devices, or leave data.mixup and data.cutmix out."
        )
    draws = draw(key, images.shape[0] // 2, alphas, axis)
    pixels, own = own_weights(draws, *images.shape[1:3])
    return _with_partner(images, pixels[..., None]), _with_partner(targets, own)


def draw(
    key: jax.Array, pairs: int, alphas: tuple[float, float], axis: str | None = None
) -> MixDraws:
    """The draws of the whole batch's pairs; under pmap this device's part of them."""
    everywhere = pairs if axis is None else pairs * lax.axis_size(axis)
    coin, beta, centre = jax.random.split(key, 3)
    mixup, cutmix = alphas
    chance = 0.5 if mixup and cutmix else float(cutmix > 0)
    cut = jax.random.bernoulli(coin, chance, (everywhere,))
    own = symmetric_beta(beta, jnp.where(cut, cutmix, mixup))
    # The dtype is float32 always: float64 would draw other numbers.
    draws = MixDraws(cut, own, jax.random.uniform(centre, (everywhere, 2), jnp.float32))
    if axis is None:
        return draws
    start = lax.axis_index(axis) * pairs
    return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, start, pairs), draws)


def symmetric_beta(key: jax.Array, alpha: jax.Array) -> jax.Array:
    """MixDraws λ ~ Beta(α, α), float32, for each α > 0.

    With u, v uniform, c = cos(2πv) and r = u^(1/α)::

        λ = ½ + ½ sign(c) √((1 - r) c² / (r + (1 - r) c²))

    `jax.random.beta` tries until every number is accepted: on several devices they
    would ask each other after every trial whether all are done.

    Reference: Bailey 1994, Mathematics of Computation 62, has Student's t with 2α
    degrees of freedom as t² = 2α (1/r - 1) c²; λ = ½ + ½ t / √(2α + t²).
    """
    u, v = jax.random.uniform(key, (2, *alpha.shape), jnp.float32)
    logarithm = jnp.log1p(-u) / alpha.astype(jnp.float32)  # 1 - u is never 0
    r, rest = jnp.exp(logarithm), -jnp.expm1(logarithm)
    c = jnp.cos(2 * jnp.pi * v)
    return 0.5 + 0.5 * jnp.sign(c) * jnp.sqrt(rest * c**2 / (r + rest * c**2))


def own_weights(draws: MixDraws, h: int, w: int) -> tuple[Any, Any]:
    """What an image keeps of itself: of each pixel (p, h, w), of the target (p, 1)."""
    side = jnp.sqrt(1 - draws.own)
    rows = _inside(draws.centre[:, 0], side, h)
    columns = _inside(draws.centre[:, 1], side, w)
    box = rows[:, :, None] & columns[:, None, :]
    area = rows.sum(1) * columns.sum(1) / (h * w)
    cut, own = draws.cut, draws.own
    pixels = jnp.where(cut[:, None, None], 1.0 - box, own[:, None, None])
    return pixels, jnp.where(cut, 1 - area, own)[:, None]


def _inside(centre, side, pixels: int):
    """(p,) and (p,) in shares of the image -> whether a pixel is in, (p, pixels)."""
    at = (jnp.arange(pixels) + 0.5) / pixels
    return jnp.abs(at - centre[:, None]) < side[:, None] / 2


def _with_partner(x, own):
    """x_i ← own · x_i + (1 - own) · x_j, x (b, …) and own (b / 2, …)."""
    pairs = x.reshape(-1, 2, *x.shape[1:])
    own = own[:, None].astype(x.dtype)
    return (own * pairs + (1 - own) * pairs[:, ::-1]).reshape(x.shape)
