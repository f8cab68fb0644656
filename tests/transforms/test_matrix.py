"""Every module under every transformation of JAX has the values that it has alone.

A row is a transformation: a function of a `Known` subject that returns what came and
what is right. There is no cell left out.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import checkify
from jax.experimental.jet import jet
from support.subjects import NETWORKS, SUBJECTS, subject

pytestmark = pytest.mark.usefixtures("x64")
ROWS = {}
# What networks are tried under at each change: they are made of the modules.
OF_NETWORKS = (
    "disable_jit",
    "scan",
    "jvp",
    "taylor",
    "rank_promotion",
    "symbolic_sizes",
)


class Known:
    """A subject, and what it is alone, each computed once."""

    def __init__(self, name: str):
        self.subject = subject(name)
        self.inputs = self.subject.variables, self.subject.x
        self.is_network = name in NETWORKS

    def apply(self, variables, x):
        return self.subject.apply(variables, x)

    def loss(self, variables, x):
        return self.subject.loss(variables, x)

    @functools.cached_property
    def y(self):
        return jax.jit(self.apply)(*self.inputs)

    @functools.cached_property
    def gradients(self):
        return jax.jit(jax.grad(self.loss, (0, 1)))(*self.inputs)

    @functools.cached_property
    def direction(self):
        """Of variables and features."""
        rng = np.random.default_rng(3)
        return jax.tree.map(
            lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), self.inputs
        )

    def along(self, t):
        """The loss, moved by t (2,) in the directions of variables and features."""
        moved = (
            jax.tree.map(lambda leaf, d, s=s: leaf + s * d, leaves, directions)
            for leaves, directions, s in zip(
                self.inputs, self.direction, t, strict=True
            )
        )
        return self.loss(*moved)

    @functools.cached_property
    def slopes(self):
        """The derivative of `along` at 0, of the gradients."""
        pairs = zip(self.gradients, self.direction, strict=True)
        return jnp.stack([inner(*pair) for pair in pairs])


def inner(a, b):
    """Of two trees."""
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.vdot(a, b), a, b)))


def row(function):
    """Puts a transformation in the table."""
    ROWS[function.__name__] = function
    return function


@functools.cache
def known(name) -> Known:
    return Known(name)


@row
def eager(s):
    return s.apply(*s.inputs), s.y


@row
def eager_gradients(s):
    return jax.grad(s.loss, (0, 1))(*s.inputs), s.gradients


@row
def disable_jit(s):
    with jax.disable_jit():
        return s.apply(*s.inputs), s.y


@row
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


@row
def vmap_parameters(s):
    v, x = s.inputs
    other = jax.tree.map(lambda leaf: 0.5 * leaf, v)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), v, other)
    run = jax.jit(jax.vmap(jax.grad(s.loss, 1), (0, None), axis_size=2))
    one = jax.jit(jax.grad(s.loss, 1))
    return run(both, x), jnp.stack([one(v, x), one(other, x)])


@row
def scan(s):
    v, x = s.inputs

    def total(v, xs):
        return lax.scan(lambda sum_, x: (sum_ + s.loss(v, x), None), 0.0, xs)[0]

    of_v, of_xs = jax.jit(jax.grad(total, (0, 1)))(v, jnp.stack([x, x[::-1]]))
    want_v, want_x = s.gradients
    twice = jax.tree.map(lambda leaf: 2 * leaf, want_v)
    return (of_v, of_xs), (twice, jnp.stack([want_x, want_x[::-1]]))


@row
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


@row
def cond(s):
    def maybe(v, x):
        return lax.cond(x[0, 0, 0, 0] < 100, s.loss, lambda v, x: 0.0, v, x)

    return jax.jit(jax.grad(maybe, (0, 1)))(*s.inputs), s.gradients


@row
def remat(s):
    return jax.jit(jax.grad(jax.checkpoint(s.loss), (0, 1)))(*s.inputs), s.gradients


@row
def jvp(s):
    _, got = jax.jit(lambda a, d: jax.jvp(s.loss, a, d))(s.inputs, s.direction)
    return got, s.slopes.sum()


@row
def vjp(s):
    """Against differences."""

    @jax.jit
    def difference(t):
        return (s.along(t) - s.along(-t)) / (2 * jnp.abs(t).max())

    step = 1e-6
    slopes = jnp.stack([difference(jnp.array(t)) for t in ((step, 0.0), (0.0, step))])
    scale = jnp.abs(s.slopes).max()
    return jnp.round(s.slopes / scale, 4), jnp.round(slopes / scale, 4)


@row
def jacfwd(s):
    return jax.jit(jax.jacfwd(s.along))(jnp.zeros(2)), s.slopes


@row
def jacrev(s):
    return jax.jit(jax.jacrev(s.along))(jnp.zeros(2)), s.slopes


@row
def hessian(s):
    """Forward over reverse, and reverse over forward."""
    reverse = jax.jacrev(jax.jacfwd(s.along))
    one, other = jax.jit(lambda t: (jax.hessian(s.along)(t), reverse(t)))(jnp.zeros(2))
    return (one, one), (one.T, other)


@row
def linearize(s):
    _, linear = jax.linearize(s.loss, *s.inputs)
    return linear(*s.direction), s.slopes.sum()


@row
def linear_transpose(s):
    _, linear = jax.linearize(s.loss, *s.inputs)
    return jax.linear_transpose(linear, *s.inputs)(1.0), s.gradients


@row
def custom_vjp(s):
    around = jax.custom_vjp(s.loss)
    around.defvjp(lambda v, x: jax.vjp(s.loss, v, x), lambda pull, ct: pull(ct))
    return jax.jit(jax.grad(around, (0, 1)))(*s.inputs), s.gradients


@row
def custom_jvp(s):
    around = jax.custom_jvp(s.loss)
    around.defjvp(lambda primals, tangents: jax.jvp(s.loss, primals, tangents))
    return jax.jit(jax.grad(around, (0, 1)))(*s.inputs), s.gradients


@row
def taylor(s):
    """`jax.experimental.jet`: the second derivative along the features' direction."""
    v, x = s.inputs
    _, dx = s.direction
    series = (dx, jnp.zeros_like(x))
    _, got = jax.jit(lambda x: jet(lambda x: s.loss(v, x), (x,), (series,)))(x)

    def slope(x):
        return jax.jvp(lambda x: s.loss(v, x), (x,), (dx,))[1]

    return got, list(jax.jit(lambda x: jax.jvp(slope, (x,), (dx,)))(x))


@row
def symbolic_batch(s):
    return exported(s, "b, " + ", ".join(map(str, s.inputs[1].shape[1:]))), s.y


@row
def symbolic_sizes(s):
    """Of any height and width; networks halve them thrice."""
    *_, c = s.inputs[1].shape
    sizes = "8*h, 8*w" if s.is_network else "h, w"
    return exported(s, f"b, {sizes}, {c}"), s.y


def exported(s, sizes):
    v, x = s.inputs
    any_x = jax.ShapeDtypeStruct(jax.export.symbolic_shape(sizes), x.dtype)
    program = jax.export.export(jax.jit(s.apply))(v, any_x)
    return jax.export.deserialize(program.serialize()).call(v, x)


@row
def eval_shape(s):
    out = jax.eval_shape(s.apply, *s.inputs)
    return jnp.zeros(out.shape, out.dtype), jnp.zeros_like(s.y)


@row
def donation(s):
    v, x = s.inputs
    run = jax.jit(lambda v, x: (s.apply(v, x), x + 1), donate_argnums=1)
    return run(v, x.copy()), (s.y, x + 1)


@row
def float32_under_x64(s):
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), s.inputs)
    y = jax.jit(s.apply)(*low)
    assert y.dtype == jnp.float32
    scale = jnp.abs(s.y).max()
    return jnp.round(y / scale, 3), jnp.round(s.y / scale, 3)


@row
def strict_promotion(s):
    with jax.numpy_dtype_promotion("strict"):
        return jax.jit(jax.grad(s.loss, (0, 1)))(*s.inputs), s.gradients


@row
def rank_promotion(s):
    with jax.numpy_rank_promotion("raise"):
        return jax.jit(jax.grad(s.loss, (0, 1)))(*s.inputs), s.gradients


@row
def debug_nans(s):
    with jax.debug_nans(True):
        return jax.jit(jax.grad(s.loss, (0, 1)))(*s.inputs), s.gradients


@row
def check_tracer_leaks(s):
    with jax.checking_leaks():
        return jax.jit(jax.grad(s.loss, (0, 1)))(*s.inputs), s.gradients


@row
def checked(s):
    """`checkify`: no NaN, no division by 0; of y, no index out of bounds.

    jax 0.10 cannot check the indices of a gradient of `jnp.take_along_axis`.
    """
    of_numbers = checkify.float_checks | checkify.div_checks
    gradients = checkify.checkify(jax.grad(s.loss, (0, 1)), errors=of_numbers)
    y = checkify.checkify(s.apply, errors=checkify.all_checks)
    errors, got = zip(*(jax.jit(run)(*s.inputs) for run in (y, gradients)), strict=True)
    for error in errors:
        error.throw()
    return got, (s.y, s.gradients)


@row
def threads(s):
    v, x = s.inputs
    run = jax.jit(s.apply)

    def rolled(k):
        with jax.enable_x64(True):  # a thread's own
            return run(v, jnp.roll(x, k, 0))

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(rolled, range(8))), [jnp.roll(s.y, k, 0) for k in range(8)]


def cells():
    for transformation in ROWS:
        for name in SUBJECTS:
            quick = name not in NETWORKS or transformation in OF_NETWORKS
            marks = () if quick else pytest.mark.slow
            yield pytest.param(transformation, name, marks=marks)


@pytest.mark.parametrize(("transformation", "name"), list(cells()))
def test_values(transformation, name):
    got, want = ROWS[transformation](known(name))

    def near(got, want):
        size = float(jnp.abs(want).max()) if want.size else 0.0
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-7 * size + 1e-12)

    jax.tree.map(near, got, want)
