"""Linear maps as primitives: each platform's own form, derivatives both ways, batches.

`jax.custom_vjp` would stop the forward derivative, and a form that is chosen while
tracing could not be exported for several platforms.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# The transpose: `(cotangent, input, **options) -> cotangent of the input`.
Transposed = Callable[..., jax.Array]


def linear_map(
    name: str,
    function: Callable[..., jax.Array],
    transposed: Transposed,
    *options: str,
    cpu: Callable[..., jax.Array] | None = None,
) -> Primitive:
    """Makes a primitive of a linear function of one array.

    Args:
        name: of the primitive.
        function: `(array, **options) -> array`; leading axes are batches.
        transposed: its transpose, made of primitives too.
        options: names of the keywords.
        cpu: the same function for CPUs, where another form is faster.
    """
    primitive = array_map(name, function, *options, cpu=cpu)
    ad.deflinear2(primitive, lambda ct, x, **chosen: (transposed(ct, x, **chosen),))
    return primitive


def array_map(
    name: str,
    function: Callable[..., jax.Array],
    *options: str,
    cpu: Callable[..., jax.Array] | None = None,
) -> Primitive:
    """The same of any function of one array, without derivatives."""
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=options))
    primitive.def_abstract_eval(partial(_abstract, function))
    batching.primitive_batchers[primitive] = partial(_batched, primitive)
    mlir.register_lowering(primitive, _lowered(function))
    if cpu is not None:
        mlir.register_lowering(primitive, _lowered(cpu), platform="cpu")
    return primitive


def _lowered(function):
    return mlir.lower_fun(function, multiple_results=False)


def _batched(primitive: Primitive, args: Any, axes: Any, **options):
    return primitive.bind(jnp.moveaxis(args[0], axes[0], 0), **options), 0


def _abstract(function, x, **options):
    result = jax.eval_shape(partial(function, **options), x)
    return ShapedArray(result.shape, result.dtype)
