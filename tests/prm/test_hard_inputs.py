"""Every hard input with every hard parameter: finite, and near float64's.

One program computes all cells of a form, a similarity, a dtype and a shape.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import prm_cases as cases
from support.prm_images import GROUPS, IMAGES, USUAL, WIDTH

from prm_flax import PRMMaps, PRMParams, recalibrate
from prm_flax.layers.precision import wide
from prm_flax.prm.kernels import cpu

DTYPES = ["float64", "float32", "bfloat16", "float16"]
# The truth is the definition in float64; float16 has bfloat16's code.
LATER = {("cpu", "float64"), ("cpu", "float16"), ("definition", "float16")}
# The largest distance of a gate to float64's for the same rounded input.
GATES = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 1e-4, "float16": 1e-4}
START = PRMParams([0, 0], [1, 1], [0, 0], [1, 1], [0.3, 0.7], 1)
RANDOM = cases.params(3, GROUPS)
PARAMETERS = {
    "the start": START,
    "random": RANDOM,
    "d = 0": RANDOM._replace(d=0),
    "d < 0": RANDOM._replace(d=-0.8),
    "d = 1e-8": RANDOM._replace(d=1e-8),
    "d = -1e-8": RANDOM._replace(d=-1e-8),
    "θ = 1e4": RANDOM._replace(theta=[1e4, 1e4]),
    "θ = -1e4": RANDOM._replace(theta=[-1e4, -1e4]),
    "λ·1e3": RANDOM._replace(lam=1e3 * RANDOM.lam),
    "λ·1e3, d = 0": RANDOM._replace(lam=1e3 * RANDOM.lam, d=0),
}


class Found(NamedTuple):
    """Of each parameters, and of all images: y, maps, and derivatives of a sum of y."""

    y: jax.Array
    maps: PRMMaps | None
    backward: tuple[PRMParams, jax.Array]
    forward: jax.Array


def with_maps(params, x, similarity):
    return recalibrate(x, params, similarity=similarity, return_maps=True)


def without_maps(params, x, similarity):
    return cpu.recalibrate(x, params, similarity=similarity), None


FORMS = {"definition": with_maps, "cpu": without_maps}
each_form_and_dtype = pytest.mark.parametrize(
    ("form", "dtype"),
    [
        pytest.param(*each, marks=pytest.mark.slow if each in LATER else ())
        for each in itertools.product(FORMS, DTYPES)
    ],
)


def all_of(form, similarity, params, x):
    run = functools.partial(FORMS[form], similarity=similarity)
    # Not of squares, which float16 may not hold.
    weights = jnp.cos(jnp.arange(x.size, dtype=params.d.dtype)).reshape(x.shape)

    def loss(params, x):
        y, maps = run(params, x)
        return (y.astype(weights.dtype) * weights).sum(), (y, maps)

    backward, (y, maps) = jax.grad(loss, (0, 1), has_aux=True)(params, x)
    ones = jax.tree.map(jnp.ones_like, (params, x))
    forward = jax.jvp(lambda p, x: run(p, x)[0], (params, x), ones)[1]
    return Found(y, maps, backward, forward)


@functools.cache
def program(form, similarity):
    """Of parameters with an axis more, and images."""
    one = functools.partial(all_of, form, similarity)
    return jax.jit(jax.vmap(one, (0, None)))


def parameters(dtype):
    """Each leaf with an axis more."""
    core = wide(jnp.dtype(dtype))
    sets = [jax.tree.map(np.float64, PRMParams(*map(np.asarray, p))) for p in
            PARAMETERS.values()]  # fmt: skip
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves), core), *sets)


def images(shape, dtype):
    return jnp.asarray(np.stack(list(IMAGES[shape].values())), dtype)


@functools.cache
def found(form, similarity, dtype, shape):
    return program(form, similarity)(parameters(dtype), images(shape, dtype))


@functools.cache
def truth(similarity, dtype, shape):
    """In float64, of the input as rounded."""
    exact = (parameters(dtype), images(shape, dtype))
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), exact)
    return program("definition", similarity)(*exact)


def bad_cells(ok, shape):
    """The names of the cells of which (parameters, images, …) is not all true."""
    ok = np.asarray(ok).reshape(len(PARAMETERS), len(IMAGES[shape]), -1).all(-1)
    names = np.array([[f"{p}, {x}" for x in IMAGES[shape]] for p in PARAMETERS])
    return list(names[~ok])


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
@each_form_and_dtype
class TestEachCell:
    def test_is_finite(self, form, similarity, dtype, shape, x64):
        y, maps, (of_params, of_x), forward = found(form, similarity, dtype, shape)
        for leaf in (y, of_x, *(maps or ())):
            assert bad_cells(jnp.isfinite(leaf), shape) == []
        for name, leaf in of_params._asdict().items():
            assert (name, bool(jnp.isfinite(leaf).all())) == (name, True)
        # θ and d move y by more than float16 holds, in float64 as well.
        exact = np.float64(truth(similarity, dtype, shape).forward)
        assert bad_cells(np.isfinite(exact), shape) == []
        beyond = np.abs(exact) > float(jnp.finfo(dtype).max)
        assert bad_cells(jnp.isfinite(forward) | beyond, shape) == []

    def test_is_near_float64_s(self, form, similarity, dtype, shape, x64):
        y, maps, *_ = found(form, similarity, dtype, shape)
        want, bound = truth(similarity, dtype, shape).maps, GATES[dtype]
        gate = np.float64(want.gate)
        if maps:
            assert bad_cells(maps.query == want.query, shape) == []
            assert bad_cells(np.abs(np.float64(maps.gate) - gate) <= bound, shape) == []
        # y is x by the gate, rounded to x's dtype.
        x, limits = np.float64(images(shape, dtype)), jnp.finfo(dtype)
        error = np.abs(np.float64(y) - x * gate.repeat(WIDTH, -1))
        allowed = (bound + float(limits.eps)) * np.abs(x)
        smallest = float(limits.smallest_subnormal)
        assert bad_cells(error <= allowed + smallest, shape) == []


@pytest.mark.parametrize("similarity", cases.SIMILARITIES)
@each_form_and_dtype
class TestABatch:
    def test_may_be_empty(self, form, similarity, dtype, x64):
        x = jnp.zeros((0, *USUAL.shape), dtype)
        y, _, (of_params, of_x), _ = program(form, similarity)(parameters(dtype), x)
        assert y.shape == of_x.shape == (len(PARAMETERS), *x.shape)
        assert y.dtype == of_x.dtype == x.dtype
        jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), of_params)

    def test_keeps_what_is_in_one_group_in_it(self, form, similarity, dtype, x64):
        """NaN and infinities, of one image each, in the second group's channels."""
        x = images("3×4", dtype)
        bad = x.at[:3, 1, 2, WIDTH].set(jnp.asarray([np.nan, np.inf, -np.inf], dtype))
        got = program(form, similarity)(parameters(dtype), bad)
        clean = found(form, similarity, dtype, "3×4")
        for a, b in (
            (got.y, clean.y),
            (got.backward[1], clean.backward[1]),
            (got.forward, clean.forward),
        ):
            np.testing.assert_array_equal(a[..., :WIDTH], b[..., :WIDTH])
            np.testing.assert_array_equal(a[:, 3:], b[:, 3:])
