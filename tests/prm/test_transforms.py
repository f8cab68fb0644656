"""What inputs share among devices: the values of one device, and no false claim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from prm_flax import PRMParams, recalibrate

IMAGES, SHARED = PartitionSpec("d"), PartitionSpec()
ONE = jnp.ones(2)
PARAMS = PRMParams(jnp.array([0.5, -0.3]), ONE, jnp.array([1.0, 2.0]), ONE, ONE, ONE[0])


@pytest.fixture
def mesh():
    return jax.make_mesh((2,), ("d",), (AxisType.Auto,), devices=jax.devices()[:2])


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(0), (2, 3, 4, 4))


@pytest.mark.parametrize("check_vma", [True, False])
def test_gradients_through_a_shard_map_are_those_of_one_device(mesh, x, check_vma):
    def own(params, x):
        loss = jnp.square(recalibrate(x, params)).mean()
        return jax.lax.pmean(loss, "d")

    loss = jax.shard_map(
        own,
        mesh=mesh,
        in_specs=(SHARED, IMAGES),
        out_specs=SHARED,
        check_vma=check_vma,
    )
    gradients = jax.jit(jax.grad(loss))(PARAMS, x)
    np.testing.assert_allclose(gradients.lam, [0.00179, 0.00112], atol=5e-6)


@pytest.mark.parametrize("leaf", ["query", "position", "gate"])
def test_maps_of_split_images_are_not_the_same_on_every_device(mesh, x, leaf):
    def own(x):
        _, maps = recalibrate(x, PARAMS, return_maps=True)
        return getattr(maps, leaf)

    claim = jax.shard_map(own, mesh=mesh, in_specs=IMAGES, out_specs=SHARED)
    with pytest.raises(ValueError, match="out_specs"):
        jax.jit(claim)(x)
