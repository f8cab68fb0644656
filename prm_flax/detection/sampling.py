"""A fixed number of positives and negatives, drawn without replacement.

Of the positives at most a share of the number is drawn, and negatives fill it up. All
shapes are fixed: what is drawn is a mask, or places with a mask of those there are.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int32, Key, Shaped


class Sample(NamedTuple):
    """How many are drawn.

    Attributes:
        number: of all.
        positive: share of the number that positives may have.
    """

    number: int
    positive: float


RPN = Sample(256, 0.5)
STAGE = Sample(512, 0.25)


def sample(
    key: Key[Array, ""] | Shaped[Array, " 2"],
    positive: Bool[Array, "*n"],
    negative: Bool[Array, "*n"],
    rule: Sample,
    numbers: Shaped[Any, "*n"] | None = None,
) -> Bool[Array, "*n"]:
    """Which are drawn, uniformly.

    Args:
        key: what is drawn is a function of it.
        positive: which may be drawn as positives.
        negative: and which as negatives.
        rule: how many of each.
        numbers: by which the key is folded for each, so that what is drawn does not
            depend on how many others there are; None for 0, 1, 2, ….

    Returns:
        (n,) bool.

    Example:
        >>> positive = jnp.arange(100) < 60
        >>> drawn = sample(jax.random.key(0), positive, ~positive, Sample(32, 0.5))
        >>> int((drawn & positive).sum()), int(drawn.sum())
        (16, 32)
    """
    if numbers is None:
        numbers = jnp.arange(len(positive), dtype=jnp.int32)
    own = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
    bits = jax.vmap(lambda key: jax.random.bits(key, (), jnp.uint32))(own) >> 1
    # Integers: of floating numbers more would be equal.
    ticket = bits.astype(jnp.int32)
    most = int(rule.number * rule.positive)
    first = _largest(jnp.where(positive, ticket, -1), most, most)
    rest = rule.number - first.sum(dtype=jnp.int32)
    second = _largest(jnp.where(negative, ticket, -1), rule.number, rest)
    return first | second


def _largest(ticket: Int32[Array, "*n"], most: int, count) -> Bool[Array, "*n"]:
    """The `count` largest of those not negative; `most` bounds the count."""
    most = min(most, len(ticket))
    values, places = lax.top_k(ticket, most)
    chosen = (values >= 0) & (jnp.arange(most) < count)
    return jnp.zeros(ticket.shape, bool).at[places].set(chosen)


def compact(
    drawn: Bool[Array, "*n"], number: int
) -> tuple[Int32[Array, "*number"], Bool[Array, "*number"]]:
    """The places of what is drawn, in their order, and which of these there are."""
    number = min(number, len(drawn))
    places = jnp.argsort(~drawn, stable=True)[:number].astype(jnp.int32)
    return places, drawn[places]
