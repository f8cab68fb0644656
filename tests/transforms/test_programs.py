"""Every module in all kinds of programs and settings of jax has its own values."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import checkify
from support.matrix import Table

pytestmark = pytest.mark.usefixtures("x64")
table = Table(of_networks=("disable_jit", "rank_promotion", "symbolic_sizes"))


@table.row
def eager(s):
    return s.apply(*s.inputs), s.y


@table.row
def eager_gradients(s):
    return jax.grad(s.loss, (0, 1))(*s.inputs), s.gradients


@table.row
def disable_jit(s):
    with jax.disable_jit():
        return s.apply(*s.inputs), s.y


@table.row
def symbolic_batch(s):
    return exported(s, "b, " + ", ".join(map(str, s.inputs[1].shape[1:]))), s.y


@table.row
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


@table.row
def eval_shape(s):
    out = jax.eval_shape(s.apply, *s.inputs)
    return jnp.zeros(out.shape, out.dtype), jnp.zeros_like(s.y)


@table.row
def donation(s):
    v, x = s.inputs
    run = jax.jit(lambda v, x: (s.apply(v, x), x + 1), donate_argnums=1)
    return run(v, x.copy()), (s.y, x + 1)


@table.row
def float32_under_x64(s):
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), s.inputs)
    y = jax.jit(s.apply)(*low)
    assert y.dtype == jnp.float32
    scale = jnp.abs(s.y).max()
    return jnp.round(y / scale, 3), jnp.round(s.y / scale, 3)


@table.row
def strict_promotion(s):
    with jax.numpy_dtype_promotion("strict"):
        return jax.jit(jax.grad(s.loss, (0, 1)))(*s.inputs), s.gradients


@table.row
def rank_promotion(s):
    with jax.numpy_rank_promotion("raise"):
        return jax.jit(jax.grad(s.loss, (0, 1)))(*s.inputs), s.gradients


@table.row
def debug_nans(s):
    with jax.debug_nans(True):
        return jax.jit(jax.grad(s.loss, (0, 1)))(*s.inputs), s.gradients


@table.row
def check_tracer_leaks(s):
    with jax.checking_leaks():
        return jax.jit(jax.grad(s.loss, (0, 1)))(*s.inputs), s.gradients


@table.row
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


@table.row
def threads(s):
    v, x = s.inputs
    run = jax.jit(s.apply)

    def rolled(k):
        with jax.enable_x64(True):  # a thread's own
            return run(v, jnp.roll(x, k, 0))

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(rolled, range(8))), [jnp.roll(s.y, k, 0) for k in range(8)]


@pytest.mark.parametrize(("row", "name"), table.cells())
def test_values(row, name):
    table.check(row, name)
