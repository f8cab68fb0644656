"""Sums over groups are what XLA's reductions are, on every way to them."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_flax.prm.groups import group_sum, spread

SIZES = st.integers(1, 5)


def random(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@given(SIZES, SIZES, st.integers(1, 12))
def test_a_sum_over_the_last_axis(b, g, c):
    x = random(b, g, c)
    np.testing.assert_allclose(group_sum(x), x.sum(-1), rtol=1e-5, atol=1e-6)


@given(SIZES, SIZES, st.integers(1, 12))
def test_spread_is_its_transpose(b, g, c):
    x, s = random(b, g, c), random(b, g)
    np.testing.assert_array_equal(spread(s, c), jnp.repeat(s[..., None], c, -1))
    (pulled,) = jax.vjp(group_sum, x)[1](s)
    np.testing.assert_array_equal(pulled, spread(s, c))
    (back,) = jax.vjp(lambda s: spread(s, c), s)[1](x)
    np.testing.assert_array_equal(back, group_sum(x))


def both_ways(total, widen):
    """A function with both maps in it, linear in neither."""
    return lambda x: (widen(jnp.tanh(total(x * x))) * x).sum()


GOT = both_ways(group_sum, lambda s: spread(s, 4))
WANT = both_ways(lambda x: x.sum(-1), lambda s: s[..., None])


@pytest.mark.parametrize(
    "transform",
    [
        jax.jit,
        jax.grad,
        lambda f: jax.vmap(jax.grad(f), 1),
        lambda f: lambda x: jax.jvp(f, (x,), (x,)),
        lambda f: lambda x: jax.hessian(f)(x[0]),
        lambda f: jax.checkpoint(jax.grad(f)),
    ],
    ids=["jit", "reverse", "batch", "forward", "both", "remat"],
)
def test_every_transform(transform):
    x = random(3, 5, 4)
    for got, want in zip(
        jax.tree.leaves(transform(GOT)(x)),
        jax.tree.leaves(transform(WANT)(x)),
        strict=True,
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_program_for_all_platforms_holds_plain_reductions_for_the_others():
    made = jax.export.export(jax.jit(group_sum), platforms=("cpu", "cuda", "tpu"))
    program = made(jax.ShapeDtypeStruct((2, 3, 4), jnp.float32)).mlir_module()
    assert "stablehlo.reduce" in program and "stablehlo.slice" in program


def test_eager_and_jitted_sums_are_the_same_bits():
    x = random(6, 3, 4)
    np.testing.assert_array_equal(group_sum(x), jax.jit(group_sum)(x))
