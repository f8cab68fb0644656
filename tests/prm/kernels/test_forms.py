"""The forms that XLA is fast at are the definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import prm_cases as cases

from prm_flax import recalibrate
from prm_flax.prm.kernels import cpu, products

FORMS = {"cpu": cpu.recalibrate, "products": products.recalibrate}
each_form = pytest.mark.parametrize("form", FORMS)
# Height, width, groups and their channels; options. Channels below and above the sliced
# ones; rows and positions that no number of slices divides.
USUAL = cases.Shape(5, 7, 4, 3)
CASES = {
    "cpu": [
        (USUAL, {}),
        (USUAL, {"similarity": "l1", "ddof": 1}),
        (USUAL, {"similarity": "cosine", "position": False}),
        (cases.Shape(4, 6, 2, 12), {"normalize": False}),
        (cases.Shape(1, 11, 3, 1), {"similarity": "cosine"}),
        (cases.Shape(1, 1, 2, 8), {"similarity": "l1"}),
    ],
    "products": [
        (USUAL, {}),
        (USUAL, {"ddof": 1, "position": False}),
        (USUAL, {"similarity": "l1"}),
        (cases.Shape(4, 6, 2, 12), {"normalize": False}),
        (cases.Shape(1, 11, 3, 1), {}),
        (cases.Shape(1, 1, 2, 8), {}),
    ],
}
IMAGES = {
    "random": lambda x: x,
    "constant": lambda x: np.full_like(x, 3.7),
    "zeros": np.zeros_like,
    "ties": np.sign,
}


@functools.cache
def with_gradients(form, **options):
    """`form`, compiled, and the gradients of sum(y²)."""

    def loss(x, params):
        y = form(x, params, **options)
        return jnp.square(y.astype(params.d.dtype)).sum(), y

    @jax.jit
    def run(x, params):
        return jax.value_and_grad(loss, (0, 1), has_aux=True)(x, params)

    return run


def assert_is_the_definition(form, x, params, bound, **options):
    got = with_gradients(FORMS[form], **options)(x, params)
    want = with_gradients(recalibrate, **options)(x, params)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        b = np.asarray(b, np.float64)
        allowed = bound * (1 + np.abs(b).max())
        np.testing.assert_allclose(np.float64(a), b, rtol=0, atol=allowed)


@pytest.mark.parametrize(
    ("form", "shape", "options"),
    [(form, *case) for form, own in CASES.items() for case in own],
    ids=str,
)
def test_it_is_the_definition(form, shape, options, x64):
    x = jnp.asarray(cases.image(0, shape, batch=(2,)))
    params = cases.as_jax(cases.params(0, shape.groups))
    assert_is_the_definition(form, x, params, 1e-10, **options)


@each_form
def test_within_an_extent_it_is_the_definition(form, x64):
    x = jnp.asarray(cases.image(0, USUAL, batch=(3,)))
    params = cases.as_jax(cases.params(0, USUAL.groups))
    extent = jnp.array([[5, 7], [3, 4], [1, 7]], jnp.int32)
    got, want = (
        with_gradients(functools.partial(each, extent=extent))(x, params)
        for each in (FORMS[form], recalibrate)
    )
    near = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    jax.tree.map(near, got, want)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize(
    ("form", "similarity"),
    [
        *(("cpu", each) for each in cases.SIMILARITIES),
        ("products", "dot"),
    ],
)
def test_it_is_safe_where_the_definition_is(form, similarity, image, x64):
    x = jnp.asarray(IMAGES[image](cases.image(0, cases.USUAL)))
    params = cases.as_jax(cases.params(0, cases.USUAL.groups)._replace(d=np.float64(0)))
    assert_is_the_definition(form, x, params, 1e-10, similarity=similarity)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("bfloat16", 2**-7)])
@each_form
def test_it_has_the_core_of_float32_and_the_dtype_of_the_input(form, dtype, bound):
    x = jnp.asarray(cases.image(0, USUAL, batch=(2,)), dtype)
    params = cases.as_jax(cases.params(0, USUAL.groups), "float32")
    assert_is_the_definition(form, x, params, bound)


@each_form
def test_it_is_one_form_in_any_batch(form, x64):
    x = jnp.asarray(cases.image(0, USUAL, batch=(2, 3)))
    params = cases.as_jax(cases.params(0, USUAL.groups))
    want = jax.jit(recalibrate)(x, params)
    cases.near(jax.jit(FORMS[form])(x, params), want)
    for axis in (0, 1):
        each = jax.vmap(FORMS[form], in_axes=(axis, None), out_axes=axis)
        cases.near(jax.jit(each)(x, params), want)


@each_form
def test_without_jit_it_is_the_same(form, x64):
    x = jnp.asarray(cases.image(0, USUAL))
    params = cases.as_jax(cases.params(0, USUAL.groups))
    with jax.disable_jit():
        got = FORMS[form](x, params)
    cases.near(got, jax.jit(FORMS[form])(x, params))


@each_form
def test_its_derivative_has_derivatives_both_ways(form, x64):
    x = jnp.asarray(cases.image(0, cases.USUAL))
    params = cases.as_jax(cases.params(0, cases.USUAL.groups))

    def loss(form, x):
        return (form(x, params) ** 3).sum()

    for outer in (jax.jacfwd, jax.jacrev):
        got, want = (
            jax.jit(outer(jax.grad(functools.partial(loss, each))))(x)
            for each in (FORMS[form], recalibrate)
        )
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
