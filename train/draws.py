"""The first values of a state, without a program for each draw of random numbers.

XLA compiles a draw anew for every shape, which takes a network's initial values 10 s
and more where drawing them takes less than one. Number i of a draw depends on its key
and on i alone, so one program that draws `BLOCK` numbers from any i on serves all
shapes, with the same bits. What is left is numpy's.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
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


def _uniform(key: jax.Array, low: Any, high: Any, **of: Any) -> jax.Array:
    return jax.random.uniform(key, **of, minval=low, maxval=high)


# By the names that jax's draws have in a traced program.
DRAWS: MappingProxyType[str, Callable[..., jax.Array]] = MappingProxyType(
    {
        "_normal": jax.random.normal,
        "_uniform": _uniform,
        "_truncated_normal": jax.random.truncated_normal,
    }
)


def _broadcast(x: Any, *, shape, broadcast_dimensions, **_: Any) -> np.ndarray:
    """`lax.broadcast_in_dim`."""
    spread = np.ones(len(shape), int)
    spread[list(broadcast_dimensions)] = np.shape(x)
    return np.broadcast_to(np.reshape(x, spread), shape)


# What numpy computes to the same bits, by the names of jax's operations.
PLAIN: Mapping[str, Callable[..., np.ndarray]] = MappingProxyType(
    {
        "broadcast_in_dim": _broadcast,
        "mul": lambda x, y, **_: np.multiply(x, y),
        "copy": lambda x, **_: np.copy(x),
    }
)


def evaluate(function: Callable[[], T]) -> T:
    """`function()` on the host, to the bits of an eager call.

    Only what the result needs is evaluated: of `model.init`, not the network. What is
    neither a draw of float32 by jax's default generator nor in `PLAIN` is jax's to
    evaluate, which compiles it for each of its shapes.

    Args:
        function: returns a tree of arrays; traced once.
    """
    traced, shapes = jax.make_jaxpr(function, return_shape=True)()
    jaxpr, _ = dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars))
    leaves = _evaluate(jaxpr, traced.consts, ())
    return jax.tree.unflatten(jax.tree.structure(shapes), map(np.asarray, leaves))


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """What a traced program returns."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        results = _run(equation, [read(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _run(equation: JaxprEqn, args: Sequence[Any]) -> Sequence[Any]:
    """What one equation returns."""
    name, params = equation.primitive.name, equation.params
    if _is_draw(equation):
        out: Any = equation.outvars[0].aval
        return [_draw(params["name"], out.shape, *args)]
    if name == "jit":
        return _evaluate(params["jaxpr"].jaxpr, params["jaxpr"].consts, args)
    if name == "checkpoint":
        return _evaluate(params["jaxpr"], (), args)
    if name in PLAIN and _is_float32(equation):
        return [PLAIN[name](*args, **params)]
    bound = equation.primitive.get_bind_params(params)
    results = equation.primitive.bind(*args, **bound)
    return results if equation.primitive.multiple_results else [results]


def _is_float32(equation: JaxprEqn) -> bool:
    """Whether all that goes in or comes out is float32."""
    atoms: tuple[Any, ...] = (*equation.invars, *equation.outvars)
    return all(atom.aval.dtype == jnp.float32 for atom in atoms)


def _is_draw(equation: JaxprEqn) -> bool:
    """Whether it draws float32 by the default generator, between bounds for all."""
    if equation.params.get("name") not in DRAWS:
        return False
    atoms: list[Any] = [*equation.invars, *equation.outvars]
    key, *bounds, out = (atom.aval for atom in atoms)
    return (
        str(key.dtype) == "key<fry>"
        and key.shape == ()
        and all(bound.shape == () for bound in bounds)
        and out.dtype == jnp.float32
        and out.size < 1 << 32
        and jax.config.values["jax_threefry_partitionable"]
    )


def _draw(name: str, shape: tuple[int, ...], key: jax.Array, *bounds: Any):
    """The numbers of a draw, block by block."""
    size, words = math.prod(shape), jax.random.key_data(key)
    starts = map(np.uint32, range(0, size, BLOCK))
    blocks = [np.asarray(_block(name, words, start, *bounds)) for start in starts]
    return np.concatenate(blocks)[:size].reshape(shape)


@functools.partial(jax.jit, static_argnums=0)
def _block(name: str, words: jax.Array, start: jax.Array, *bounds: Any) -> jax.Array:
    """(BLOCK,): the numbers of a draw from number `start` on.

    Args:
        name: of the kind of draw.
        words: (2,) uint32, of its key.
        start: () uint32.
        *bounds: of the kind.
    """
    placed = jnp.concatenate([words, start[None]])
    key = jax.random.wrap_key_data(placed, impl=PLACED)
    return DRAWS[name](key, *bounds, shape=(BLOCK,), dtype=jnp.float32)


def _placed_bits(data: jax.Array, bits: int, shape: tuple[int, ...]) -> jax.Array:
    """The bits of jax's default generator, from some number of a draw on.

    Args:
        data: (3,) uint32, the words of a key and the first number's place.
        bits: 32, of a number.
        shape: of the numbers.
    """
    first, second, start = data
    places = start + jax.lax.iota(jnp.uint32, math.prod(shape))
    same = functools.partial(jnp.broadcast_to, shape=places.shape)
    counts = jnp.zeros_like(places), places
    high, low = threefry2x32_p.bind(same(first), same(second), *counts)
    return (high ^ low).reshape(shape)


def _refuse(*args: Any) -> Any:
    raise TypeError("a key with a place is drawn from: it has no seed and no split.")


PLACED = define_prng_impl(
    key_shape=(3,),
    seed=_refuse,
    split=_refuse,
    fold_in=_refuse,
    random_bits=_placed_bits,
    name="placed_threefry",
    tag="placed",
)
