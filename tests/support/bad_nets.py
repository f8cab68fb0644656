"""Networks and images that make numbers which are not finite."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from support.nets import Net, prepare

from prm_flax.layers.norm import BatchNorm

# The grey value that `poisoned` makes infinite; `batch` never has a whole image of it.
PIXEL = 255


def poisoned(model: Net):
    """`prepare`, but an image of nothing but 255 begins with an infinite number."""
    return functools.partial(_poisoned, dtype=model.dtype)


def _poisoned(images, dtype):
    bad = (images == PIXEL).all((1, 2, 3))
    ready = prepare(images, dtype)
    return ready.at[:, 0, 0, 0].add(jnp.where(bad, jnp.inf, 0).astype(dtype))


def with_pixel(batch: dict[str, Any], *rows: int) -> dict[str, Any]:
    """The batch with some of its images poisoned for `poisoned`."""
    image = batch["image"].copy()
    image[list(rows)] = PIXEL
    return batch | {"image": image}


@jax.custom_vjp
def _nan_gradient(x):
    return x


_nan_gradient.defvjp(lambda x: (x, None), lambda _, g: (jnp.full_like(g, jnp.nan),))


class Fragile(nn.Module):
    """x, with a gradient that is NaN."""

    @nn.compact
    def __call__(self, x):
        return _nan_gradient(x * self.param("scale", nn.initializers.ones, ()))


class NanGradient(Net):
    """A finite loss; the gradient is NaN from "fragile" backwards, not after it."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), name="first")(x)
        x = BatchNorm(images=self.batch_norm, name="norm")(x, train=train)
        x = Fragile(name="fragile")(x).mean((1, 2))
        return nn.Dense(self.num_classes, name="last")(x)


class Overflowing(nn.Module):
    """x, but infinite for images whose mean exceeds a limit."""

    limit: float

    def __call__(self, x):
        over = x.mean((1, 2, 3), keepdims=True) > self.limit
        return jnp.where(over, jnp.inf, x)


class Block(nn.Module):
    """Names in an order other than the alphabet's."""

    limit: float

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3), name="z")(x)
        x = Overflowing(self.limit, name="middle")(x)
        return BatchNorm(images=4, name="a")(x, train=train)


class Overflows(nn.Module):
    """The layer block/middle is infinite for bright images."""

    limit: float = 10.0
    remat: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        x = block(self.limit, name="block")(x, train)
        return nn.Dense(5, name="last")(x.mean((1, 2)))


class NoClassThree(nn.Module):
    """A logit of -inf for class 3: the loss of its images is infinite."""

    @nn.compact
    def __call__(self, x, train=False):
        logits = nn.Dense(5, name="last")(x.mean((1, 2)))
        return logits.at[:, 3].set(-jnp.inf)


class FarApart(nn.Module):
    """Finite logits of ±3e38: the loss of the images of class 3 is infinite."""

    @nn.compact
    def __call__(self, x, train=False):
        logits = nn.Dense(5, name="last")(x.mean((1, 2)))
        return logits + jnp.array([3e38, 0, 0, -3e38, 0])
