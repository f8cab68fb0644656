"""PRM as products of matrices is the definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from prm.kernels.test_cpu import IMAGES, with_gradients
from support import prm_cases as cases

from prm_flax import recalibrate
from prm_flax.layers.device import Device
from prm_flax.prm import fast
from prm_flax.prm.kernels import products

USUAL = cases.Shape(5, 7, 4, 3)
CASES = [
    (USUAL, {}),
    (USUAL, {"ddof": 1, "position": False}),
    (USUAL, {"similarity": "l1"}),
    (cases.Shape(4, 6, 2, 12), {"normalize": False}),
    (cases.Shape(1, 11, 3, 1), {}),
    (cases.Shape(1, 1, 2, 8), {}),
]


def assert_is_the_definition(x, params, bound, **options):
    got = with_gradients(products.recalibrate, **options)(x, params)
    want = with_gradients(recalibrate, **options)(x, params)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        b = np.asarray(b, np.float64)
        allowed = bound * (1 + np.abs(b).max())
        np.testing.assert_allclose(np.float64(a), b, rtol=0, atol=allowed)


@pytest.mark.parametrize(("shape", "options"), CASES, ids=str)
def test_it_is_the_definition(shape, options, x64):
    x = jnp.asarray(cases.image(0, shape, batch=(2,)))
    params = cases.as_jax(cases.params(0, shape.groups))
    assert_is_the_definition(x, params, 1e-10, **options)


def test_within_an_extent_it_is_the_definition(x64):
    x = jnp.asarray(cases.image(0, USUAL, batch=(3,)))
    params = cases.as_jax(cases.params(0, USUAL.groups))
    extent = jnp.array([[5, 7], [3, 4], [1, 7]], jnp.int32)
    got, want = (
        with_gradients(functools.partial(form, extent=extent))(x, params)
        for form in (products.recalibrate, recalibrate)
    )
    near = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    jax.tree.map(near, got, want)


@pytest.mark.parametrize("image", IMAGES)
def test_it_is_safe_where_the_definition_is(image, x64):
    x = jnp.asarray(IMAGES[image](cases.image(0, cases.USUAL)))
    params = cases.as_jax(cases.params(0, cases.USUAL.groups)._replace(d=np.float64(0)))
    assert_is_the_definition(x, params, 1e-10)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("bfloat16", 2**-7)])
def test_it_has_the_core_of_float32_and_the_dtype_of_the_input(dtype, bound):
    x = jnp.asarray(cases.image(0, USUAL, batch=(2,)), dtype)
    params = cases.as_jax(cases.params(0, USUAL.groups), "float32")
    assert_is_the_definition(x, params, bound)


def test_it_is_one_form_in_any_batch(x64):
    x = jnp.asarray(cases.image(0, USUAL, batch=(2, 3)))
    params = cases.as_jax(cases.params(0, USUAL.groups))
    want = jax.jit(recalibrate)(x, params)
    cases.near(jax.jit(products.recalibrate)(x, params), want)
    for axis in (0, 1):
        each = jax.vmap(products.recalibrate, in_axes=(axis, None), out_axes=axis)
        cases.near(jax.jit(each)(x, params), want)


def test_its_derivative_has_derivatives_both_ways(x64):
    x = jnp.asarray(cases.image(0, cases.USUAL))
    params = cases.as_jax(cases.params(0, cases.USUAL.groups))

    def loss(form, x):
        return (form(x, params) ** 3).sum()

    for outer in (jax.jacfwd, jax.jacrev):
        got, want = (
            jax.jit(outer(jax.grad(functools.partial(loss, form))))(x)
            for form in (products.recalibrate, recalibrate)
        )
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_a_module_takes_it_on_a_tpu_alone(monkeypatch):
    x = jnp.ones((1, 2, 2, 4))
    assert fast.form("auto", x) is not products.recalibrate
    monkeypatch.setattr(fast, "device", lambda: Device("tpu", "TPU v5 lite"))
    assert fast.form("auto", x) is products.recalibrate
    assert fast.form("xla", x) is recalibrate


def test_its_derivative_has_no_scatter():
    x = jax.ShapeDtypeStruct((2, 14, 14, 64), jnp.float32)
    params = jax.eval_shape(lambda: cases.as_jax(cases.params(0, 16), jnp.float32))

    def program(form):
        gradient = jax.grad(lambda x, params: form(x, params).sum(), (0, 1))
        return jax.jit(gradient).lower(x, params).as_text()

    ours = program(products.recalibrate)
    assert "stablehlo.scatter" not in ours
    assert "stablehlo.dot_general" in ours
    assert "stablehlo.scatter" in program(recalibrate)


def test_groups_that_fill_a_register_are_the_definition():
    x = jax.ShapeDtypeStruct((2, 6, 6, 256), jnp.float32)

    def products_of(groups):
        params = jax.eval_shape(
            lambda: cases.as_jax(cases.params(0, groups), "float32")
        )
        text = jax.jit(products.recalibrate).lower(x, params).as_text()
        return text.count("stablehlo.dot_general")

    assert products_of(2) == 0
    assert products_of(4) > 0
