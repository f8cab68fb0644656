"""The definition: against a brute-force reference, and the image's symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from support import prm_cases as cases
from support import reference
from support.prm_cases import laws, near, prm

from prm_flax import recalibrate

pytestmark = pytest.mark.usefixtures("x64")
GROUP_LEAVES = ("alpha", "beta", "lam", "xi")
SHAPE = cases.USUAL


@settings(max_examples=20)
@given(cases.seeds, cases.shapes, cases.options)
def test_equals_the_brute_force_reference(seed, shape, options):
    x, params = cases.image(seed, shape), cases.params(seed, shape.groups)
    y, maps = prm(x, params, return_maps=True, **options)
    want = reference.prm(x, params, **options)
    near(y, want.y)
    for name, map_ in maps._asdict().items():
        near(map_, getattr(want, name), err_msg=name)


@laws
def test_groups_are_independent(seed, options):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    order = np.random.default_rng(seed).permutation(SHAPE.groups)

    def permuted(a):
        parts = np.split(np.asarray(a), SHAPE.groups, axis=-1)
        return np.concatenate([parts[k] for k in order], axis=-1)

    per_group = {name: permuted(getattr(params, name)) for name in GROUP_LEAVES}
    y = prm(permuted(x), params._replace(**per_group), **options)
    near(y, permuted(prm(x, params, **options)))


@laws
def test_channels_of_a_group_are_interchangeable(seed, options):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    order = np.random.default_rng(seed).permutation(SHAPE.width)
    order = np.concatenate([order + k * SHAPE.width for k in range(SHAPE.groups)])
    near(prm(x[..., order], params, **options), prm(x, params, **options)[..., order])


@laws
def test_samples_are_independent(seed, options):
    x = cases.image(seed, SHAPE, batch=(3,))
    params = cases.params(seed, SHAPE.groups)
    y = prm(x, params, **options)
    for i in range(3):
        near(y[i], prm(x[i], params, **options))


@laws
def test_any_leading_axes(seed, options):
    x = cases.image(seed, SHAPE, batch=(2, 3))
    params = cases.params(seed, SHAPE.groups)
    flat = prm(x.reshape(6, *x.shape[2:]), params, **options)
    near(prm(x, params, **options).reshape(flat.shape), flat)
    mapped = jax.vmap(lambda x: recalibrate(x, cases.as_jax(params), **options))
    near(mapped(jnp.asarray(x.reshape(flat.shape))), flat)


@laws
def test_without_query_the_order_of_pixels_is_irrelevant(seed, options):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    params = params._replace(alpha=np.zeros(SHAPE.groups))
    order = np.random.default_rng(seed).permutation(SHAPE.h * SHAPE.w)

    def shuffled(a):
        return np.asarray(a).reshape(-1, a.shape[-1])[order].reshape(a.shape)

    near(prm(shuffled(x), params, **options), shuffled(prm(x, params, **options)))


@pytest.mark.parametrize("axis", [-2, -3])
@given(cases.seeds, cases.options)
def test_a_flipped_image(axis, seed, options):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    flipped = prm(np.flip(x, axis), params, **options)
    near(flipped, np.flip(prm(x, params, **options), axis))


@laws
def test_a_transposed_image_has_theta_swapped(seed, options):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    swapped = params._replace(theta=params.theta[::-1])
    y = prm(np.swapaxes(x, 0, 1), swapped, **options)
    near(y, np.swapaxes(prm(x, params, **options), 0, 1))


@laws
def test_maps_do_not_change_the_result(seed, options):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    y, maps = prm(x, params, return_maps=True, **options)
    near(y, prm(x, params, **options))
    near(y, x * np.repeat(maps.gate, SHAPE.width, axis=-1))
