"""Every module under jax's transformations of functions has its own values."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.experimental.jet import jet
from support.matrix import Table

pytestmark = pytest.mark.usefixtures("x64")
table = Table(of_networks=("scan", "jvp", "taylor"))


@table.row
def vmap_every_axis(s):
    """Features stacked on each of their axes in turn."""
    v, x = s.inputs
    axes = range(x.ndim + 1)

    @jax.jit
    def run(v, x):
        return [
            jax.vmap(s.apply, (None, k))(v, jnp.stack([x, x[::-1]], k)) for k in axes
        ]

    return run(v, x), [jnp.stack([s.y, s.y[::-1]])] * len(axes)


@table.row
def vmap_parameters(s):
    v, x = s.inputs
    other = jax.tree.map(lambda leaf: 0.5 * leaf, v)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), v, other)
    run = jax.jit(jax.vmap(jax.grad(s.loss, 1), (0, None), axis_size=2))
    one = jax.jit(jax.grad(s.loss, 1))
    return run(both, x), jnp.stack([one(v, x), one(other, x)])


@table.row
def scan(s):
    v, x = s.inputs

    def total(v, xs):
        return lax.scan(lambda sum_, x: (sum_ + s.loss(v, x), None), 0.0, xs)[0]

    of_v, of_xs = jax.jit(jax.grad(total, (0, 1)))(v, jnp.stack([x, x[::-1]]))
    want_v, want_x = s.gradients
    twice = jax.tree.map(lambda leaf: 2 * leaf, want_v)
    return (of_v, of_xs), (twice, jnp.stack([want_x, want_x[::-1]]))


@table.row
def while_loop(s):
    """Two turns, in forward mode; reverse mode is `scan`'s."""
    v, x = s.inputs
    _, dx = s.direction

    def turn(x):
        return x + s.apply(v, x).mean()

    def loop(x):
        def more(carry):
            return carry[0] < 2

        def body(carry):
            return carry[0] + 1, turn(carry[1])

        return lax.while_loop(more, body, (jnp.zeros((), jnp.int32), x))[1]

    run = jax.jit(lambda f, x: jax.jvp(f, (x,), (dx,)), static_argnums=0)
    return run(loop, x), run(lambda x: turn(turn(x)), x)


@table.row
def cond(s):
    def maybe(v, x):
        return lax.cond(x[0, 0, 0, 0] < 100, s.loss, lambda v, x: 0.0, v, x)

    return jax.jit(jax.grad(maybe, (0, 1)))(*s.inputs), s.gradients


@table.row
def remat(s):
    return jax.jit(jax.grad(jax.checkpoint(s.loss), (0, 1)))(*s.inputs), s.gradients


@table.row
def jvp(s):
    _, got = jax.jit(lambda a, d: jax.jvp(s.loss, a, d))(s.inputs, s.direction)
    return got, s.slopes.sum()


@table.row
def vjp(s):
    """Against differences."""

    @jax.jit
    def difference(t):
        return (s.along(t) - s.along(-t)) / (2 * jnp.abs(t).max())

    step = 1e-6
    slopes = jnp.stack([difference(jnp.array(t)) for t in ((step, 0.0), (0.0, step))])
    scale = jnp.abs(s.slopes).max()
    return jnp.round(s.slopes / scale, 4), jnp.round(slopes / scale, 4)


@table.row
def jacfwd(s):
    return jax.jit(jax.jacfwd(s.along))(jnp.zeros(2)), s.slopes


@table.row
def jacrev(s):
    return jax.jit(jax.jacrev(s.along))(jnp.zeros(2)), s.slopes


@table.row
def hessian(s):
    """Forward over reverse, and reverse over forward."""
    reverse = jax.jacrev(jax.jacfwd(s.along))
    one, other = jax.jit(lambda t: (jax.hessian(s.along)(t), reverse(t)))(jnp.zeros(2))
    return (one, one), (one.T, other)


@table.row
def linearize(s):
    _, linear = jax.linearize(s.loss, *s.inputs)
    return linear(*s.direction), s.slopes.sum()


@table.row
def linear_transpose(s):
    _, linear = jax.linearize(s.loss, *s.inputs)
    return jax.linear_transpose(linear, *s.inputs)(1.0), s.gradients


@table.row
def custom_vjp(s):
    around = jax.custom_vjp(s.loss)
    around.defvjp(lambda v, x: jax.vjp(s.loss, v, x), lambda pull, ct: pull(ct))
    return jax.jit(jax.grad(around, (0, 1)))(*s.inputs), s.gradients


@table.row
def custom_jvp(s):
    around = jax.custom_jvp(s.loss)
    around.defjvp(lambda primals, tangents: jax.jvp(s.loss, primals, tangents))
    return jax.jit(jax.grad(around, (0, 1)))(*s.inputs), s.gradients


@table.row
def taylor(s):
    """`jax.experimental.jet`: the second derivative along the features' direction."""
    v, x = s.inputs
    _, dx = s.direction
    series = (dx, jnp.zeros_like(x))
    _, got = jax.jit(lambda x: jet(lambda x: s.loss(v, x), (x,), (series,)))(x)

    def slope(x):
        return jax.jvp(lambda x: s.loss(v, x), (x,), (dx,))[1]

    return got, list(jax.jit(lambda x: jax.jvp(slope, (x,), (dx,)))(x))


@pytest.mark.parametrize(("row", "name"), table.cells())
def test_values(row, name):
    table.check(row, name)
