"""The first values of a state, without a program for each draw of random numbers.

XLA compiles a draw anew for every shape, which takes a network's initial values 10 s
and more where drawing them takes less than one. Number i of a draw depends on its key
and on i alone, so one program that draws `BLOCK` numbers from any i on serves all
shapes, with the same bits.
"""

import functools
import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, Literal
from jax.extend.random import define_prng_impl, threefry2x32_p
from jax.interpreters.partial_eval import dce_jaxpr

T = TypeVar("T")
BLOCK = 1 << 15
# By the names that jax's draws have in a traced program: (key, *bounds, shape, dtype).
DRAWS: MappingProxyType[str, Callable[..., jax.Array]] = MappingProxyType(
    {
        "_normal": jax.random.normal,
        "_uniform": lambda key, low, high, shape, dtype: jax.random.uniform(
            key, shape, dtype, low, high
        ),
        "_truncated_normal": jax.random.truncated_normal,
    }
)


def evaluate(function: Callable[[], T]) -> T:
    """`function()`, to the bits, compiling each kind of draw once.

    Only what the result needs is evaluated: of `model.init`, not the network. What is
    no draw of float32 by jax's default generator is evaluated as jax does.
    """
    traced, shapes = jax.make_jaxpr(function, return_shape=True)()
    jaxpr, _ = dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars))
    leaves = _evaluate(jaxpr, traced.consts, ())
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """What a traced program returns."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        results = _run(equation, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _run(equation: JaxprEqn, args: list[Any]) -> Sequence[Any]:
    """What one equation returns."""
    if _is_draw(equation):
        [shape] = (out.aval for out in equation.outvars)
        return [_draw(equation.params["name"], shape.shape, *args)]
    if equation.primitive.name == "jit":
        inner = equation.params["jaxpr"]
        return _evaluate(inner.jaxpr, inner.consts, args)
    if equation.primitive.name == "checkpoint":
        return _evaluate(equation.params["jaxpr"], (), args)
    params = equation.primitive.get_bind_params(equation.params)
    results = equation.primitive.bind(*args, **params)
    return results if equation.primitive.multiple_results else [results]


def _is_draw(equation: JaxprEqn) -> bool:
    """Whether an equation draws float32 by the default generator, between scalars."""
    if equation.params.get("name") not in DRAWS:
        return False
    key, *bounds = (atom.aval for atom in equation.invars)
    [out] = (out.aval for out in equation.outvars)
    return (
        str(key.dtype) == "key<fry>"
        and key.shape == ()
        and all(bound.shape == () for bound in bounds)
        and out.dtype == jnp.float32
        and out.size < 1 << 32
        and jax.config.values["jax_threefry_partitionable"]
    )


def _draw(name: str, shape: tuple[int, ...], key: jax.Array, *bounds: Any) -> jax.Array:
    """The numbers of a draw, block by block."""
    size, words = math.prod(shape), jax.random.key_data(key)
    blocks = [_block(name, words, start, *bounds) for start in range(0, size, BLOCK)]
    return jnp.asarray(np.concatenate(blocks)[:size].reshape(shape))


@functools.partial(jax.jit, static_argnums=0)
def _block(name: str, words: jax.Array, start: int, *bounds: jax.Array) -> jax.Array:
    """(BLOCK,): the numbers of a draw from number `start` on.

    Args:
        name: of the kind of draw.
        words: (2,) uint32, of its key.
        start: < 2³².
        *bounds: of the kind.
    """
    place = jnp.asarray(start, jnp.uint32)[None]
    key = jax.random.wrap_key_data(jnp.concatenate([words, place]), impl=_PLACED)
    return DRAWS[name](key, *bounds, shape=(BLOCK,), dtype=jnp.float32)


def _placed_bits(data: jax.Array, bits: int, shape: tuple[int, ...]) -> jax.Array:
    """jax's default generator, from some number of a draw on.

    Args:
        data: (3,) uint32, the words of a key and the first number's place.
        bits: 32, of a number.
        shape: of the numbers.
    """
    first, second, start = data
    places = start + jax.lax.iota(jnp.uint32, math.prod(shape))
    same = functools.partial(jnp.broadcast_to, shape=places.shape)
    high, low = threefry2x32_p.bind(
        same(first), same(second), jnp.zeros_like(places), places
    )
    return (high ^ low).reshape(shape)


def _not_made(*args: Any) -> Any:
    raise NotImplementedError("A key with a place is drawn from, and that is all.")


_PLACED = define_prng_impl(
    key_shape=(3,),
    seed=_not_made,
    split=_not_made,
    fold_in=_not_made,
    random_bits=_placed_bits,
    name="placed_threefry",
    tag="placed",
)
