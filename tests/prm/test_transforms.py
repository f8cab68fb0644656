"""The definition is plain operations: every transformation of JAX knows them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.jet import jet
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from support import prm_cases as cases

from prm_flax import recalibrate

pytestmark = pytest.mark.usefixtures("x64")
IMAGES, SHARED = PartitionSpec("data"), PartitionSpec()


@pytest.fixture
def inputs():
    x = cases.image(0, cases.USUAL, batch=(4,))
    return cases.as_jax((x, cases.params(0, cases.USUAL.groups)))


def loss(x, params):
    return jnp.square(recalibrate(x, params)).sum()


def gradients(function, *inputs):
    return jax.jit(jax.grad(function, (0, 1)))(*inputs)


def mesh(kind: AxisType):
    return jax.make_mesh((2,), ("data",), (kind,), devices=jax.devices()[:2])


def assert_near(got, want):
    jax.tree.map(cases.near, got, want)


def test_images_shared_by_hand_with_their_variation_checked(inputs):
    def own(x, params):
        return jax.lax.psum(loss(x, params), "data")

    shared = jax.shard_map(
        own,
        mesh=mesh(AxisType.Auto),
        in_specs=(IMAGES, SHARED),
        out_specs=SHARED,
        check_vma=True,
    )
    assert_near(gradients(shared, *inputs), gradients(loss, *inputs))


def test_a_mesh_of_explicit_axes(inputs):
    want = gradients(loss, *inputs)
    x, params = inputs
    explicit = mesh(AxisType.Explicit)
    with jax.set_mesh(explicit):
        x = jax.device_put(x, NamedSharding(explicit, IMAGES))
        got = gradients(loss, x, params)
    assert jax.typeof(got[0]).sharding.spec[0] == "data"
    assert_near(got, want)


def test_without_jit(inputs):
    with jax.disable_jit():
        got = jax.grad(loss, (0, 1))(*inputs)
    assert_near(got, gradients(loss, *inputs))


def test_a_taylor_series(inputs):
    """The first derivative along a direction, as forward mode has it."""
    x, params = inputs
    dx = jnp.ones_like(x)
    _, (first, _) = jet(
        lambda x: recalibrate(x, params), (x,), ((dx, jnp.zeros_like(x)),)
    )
    _, want = jax.jvp(lambda x: recalibrate(x, params), (x,), (dx,))
    np.testing.assert_allclose(first, want, rtol=1e-9, atol=1e-9)
