"""Every hard input with every hard parameter: finite, and near float64's.

One program computes all cells of a dtype, a similarity and a shape.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import prm_cases as cases

from prm_flax import PRMParams, recalibrate
from prm_flax.layers.precision import wide
from prm_flax.prm.kernels import cpu

GROUPS = 2
DTYPES = ["float64", "float32", "bfloat16", "float16"]
# The largest distance of a gate to float64's for the same rounded input.
GATES = {"float64": 0, "float32": 2e-3, "bfloat16": 1e-2, "float16": 2e-3}
START = PRMParams([0, 0], [1, 1], [0, 0], [1, 1], [0.3, 0.7], 1)
RANDOM = cases.params(3, GROUPS)
PARAMETERS = {
    "the start": START,
    "random": RANDOM,
    "d = 0": RANDOM._replace(d=0),
    "d < 0": RANDOM._replace(d=-0.8),
    "d = 1e-8": RANDOM._replace(d=1e-8),
    "θ = 1e4": RANDOM._replace(theta=[1e4, 1e4]),
    "θ = -1e4": RANDOM._replace(theta=[-1e4, -1e4]),
    "λ·1e3": RANDOM._replace(lam=1e3 * RANDOM.lam),
}
USUAL = cases.image(0, cases.USUAL)


def spike():
    x = np.zeros_like(USUAL)
    x[1, 2] = 50 * USUAL[1, 2]
    return x


def zero_group():
    x = USUAL.copy()
    x[..., :3] = 0
    return x


def channel_sums_of_0():
    """Exactly, in each dtype: numbers of few bits."""
    x = np.round(USUAL * 8) / 8
    x[..., 2::3] = -x[..., 0::3] - x[..., 1::3]
    return x


def line(h, w):
    return {f"{h}×{w}": cases.image(1, cases.Shape(h, w, GROUPS, 3))}


# Of one shape each.
IMAGES = {
    "3×4": {
        "usual": USUAL,
        "zeros": np.zeros_like(USUAL),
        "constant": np.full_like(USUAL, 3.7),
        "tiny": 1e-12 * USUAL,
        "1e-30": 1e-30 * USUAL,
        "1e3": 1e3 * USUAL,
        "a spike": spike(),
        "a zero group": zero_group(),
        "channel sums of 0": channel_sums_of_0(),
        "offset 100": 100 + USUAL,
    },
    "1×1": line(1, 1),
    "1×5": line(1, 5),
    "5×1": line(5, 1),
}
FORMS = {"definition": recalibrate, "cpu": cpu.recalibrate}


def stacked(shape, dtype):
    """(images, h, w, C) and the parameters, each leaf with an axis more."""
    x = jnp.asarray(np.stack(list(IMAGES[shape].values())), dtype)
    core = wide(jnp.dtype(dtype))
    sets = [
        jax.tree.map(np.float64, PRMParams(*map(np.asarray, p)))
        for p in PARAMETERS.values()
    ]
    return x, jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves), core), *sets)


@functools.cache
def program(form, similarity):
    """y and the gradients of a sum, for every parameters and image."""

    def one(params, x):
        # Not of squares, which float16 may not hold.
        weights = jnp.cos(jnp.arange(x.size, dtype=params.d.dtype)).reshape(x.shape)

        def loss(params, x):
            y = FORMS[form](x, params, similarity=similarity)
            return (y.astype(weights.dtype) * weights).sum(), y

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))


@functools.cache
def gates(similarity):
    def one(params, x):
        return recalibrate(x, params, similarity=similarity, return_maps=True)[1]

    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))


def bad_cells(ok, shape):
    """The names of the cells of which (parameters, images, …) is not all true."""
    ok = np.asarray(ok).reshape(len(PARAMETERS), len(IMAGES[shape]), -1).all(-1)
    names = np.array([[f"{p}, {x}" for x in IMAGES[shape]] for p in PARAMETERS])
    return list(names[~ok])


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
@pytest.mark.parametrize("form", FORMS)
def test_values_and_gradients_are_finite(form, similarity, dtype, shape, x64):
    x, params = stacked(shape, dtype)
    run = program(form, similarity)
    (of_params, of_x), y = run(params, x)
    for leaf in (y, *of_params):
        assert bad_cells(jnp.isfinite(leaf), shape) == []
    # What float16 cannot hold is infinite in it, as loss scaling wants to know.
    (_, want), _ = run(params, x.astype(wide(x.dtype)))
    fits = jnp.abs(want) <= 0.99 * float(jnp.finfo(dtype).max)
    assert bad_cells(jnp.isfinite(of_x) | ~fits, shape) == []


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
def test_gates_are_near_float64_s(similarity, dtype, shape, x64):
    x, params = stacked(shape, dtype)
    got = gates(similarity)(params, x).gate
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, x))
    want = gates(similarity)(*exact).gate
    assert (
        bad_cells(jnp.abs(got.astype(want.dtype) - want) <= GATES[dtype], shape) == []
    )


@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
@pytest.mark.parametrize("form", FORMS)
def test_forward_mode_is_finite(form, similarity):
    x, params = stacked("3×4", "float32")

    def one(params, x):
        inputs = params, x
        run = functools.partial(FORMS[form], similarity=similarity)
        directions = jax.tree.map(jnp.ones_like, inputs)
        return jax.jvp(lambda p, x: run(x, p), inputs, directions)

    run = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
    for leaf in run(params, x):
        assert bad_cells(jnp.isfinite(leaf), "3×4") == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_an_empty_batch(form, dtype, x64):
    core = wide(jnp.dtype(dtype))
    params = cases.as_jax(RANDOM, core)
    x = jnp.zeros((0, *USUAL.shape), dtype)

    def loss(params, x):
        return FORMS[form](x, params).astype(core).sum()

    of_params, of_x = jax.jit(jax.grad(loss, (0, 1)))(params, x)
    assert of_x.shape == x.shape
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), of_params)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_in_one_image_stays_in_it(form, similarity, bad):
    x = np.stack([USUAL, USUAL])
    x[0, 1, 2, 3] = bad
    params = cases.as_jax(RANDOM, jnp.float32)

    @jax.jit
    def run(x):
        prm = functools.partial(FORMS[form], params=params, similarity=similarity)
        return prm(x), jax.grad(lambda x: prm(x).sum())(x)

    for leaf in run(jnp.asarray(x, jnp.float32)):
        assert jnp.isfinite(leaf[1]).all()
