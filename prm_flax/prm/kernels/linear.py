"""Linear operations whose transpose is written down, for every transformation of JAX.

`jax.custom_vjp` has no forward mode, `jax.custom_jvp` no transpose of its own, and
`jax.custom_derivatives.linear_call` no `vmap`. A primitive has what it is given.
"""

from collections.abc import Callable

import jax
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# (x, size) -> array; linear in x, and at work on the last axes alone.
Linear = Callable[[jax.Array, int], jax.Array]


def linear(name: str, function: Linear, transpose: Linear) -> Linear:
    """`function` as one operation, whose reverse pass runs `transpose`.

    Args:
        name: of the operation in jaxprs.
        function: `(x, size)`; any batch axes come first in x and in the result.
        transpose: `(cotangent, size)`, the cotangent of x; of linear operations, so
            that it has derivatives and a transpose in its turn.

    Returns:
        `(x, size)`; has the rules of eager evaluation, jit, jvp, transposition, vmap,
        jet, sharding in types and variation over the axes of a `shard_map`.
    """
    primitive = Primitive(name)
    primitive.def_impl(lambda x, *, size: function(x, size))
    # Traced, so that shardings and variation are those of the operations it is made of.
    primitive.def_abstract_eval(
        lambda x, *, size: jax.make_jaxpr(lambda x: function(x, size))(x).out_avals[0]
    )
    mlir.register_lowering(
        primitive,
        mlir.lower_fun(lambda x, *, size: function(x, size), multiple_results=False),
    )
    ad.deflinear2(primitive, lambda ct, _, *, size: [transpose(ct, size)])
    jet.deflinear(primitive)

    def batch(arrays, axes, *, size):
        (x,), (axis,) = arrays, axes
        x = batching.bdim_at_front(x, axis, x.shape[axis])
        return primitive.bind(x, size=size), 0

    batching.primitive_batchers[primitive] = batch
    return lambda x, size=0: primitive.bind(x, size=size)
