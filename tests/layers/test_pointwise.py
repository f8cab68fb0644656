"""A 1×1 convolution is one, as a product too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from prm_flax.layers import pointwise as room
from prm_flax.layers.basic import Layers
from prm_flax.layers.device import Device, device, portable
from prm_flax.layers.pointwise import pointwise

DIMENSIONS = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


def conv(x, kernel, stride):
    options = {"dimension_numbers": DIMENSIONS, "precision": None}
    return pointwise(x, kernel, (stride, stride), "VALID", **options)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
def test_a_product_is_the_convolution(stride, size):
    g = np.random.default_rng(0)
    x = jnp.asarray(g.normal(size=(2, *size, 6)), jnp.float32)
    kernel = jnp.asarray(g.normal(size=(1, 1, 6, 4)), jnp.float32)
    with portable():
        want = conv(x, kernel, stride)
    np.testing.assert_allclose(conv(x, kernel, stride), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("platform", "product"), [("cpu", True), ("gpu", False)])
def test_a_cpu_gets_a_product(monkeypatch, platform, product):
    monkeypatch.setattr(room, "device", lambda: Device(platform, ""))
    layer = Layers(None, jnp.float32, "global", 0.9, 1e-5).conv(4, 1, "conv")
    x = jnp.ones((1, 2, 2, 3))
    program = str(jax.make_jaxpr(lambda x: layer.init(jax.random.key(0), x))(x))
    assert ("dot_general" in program) is product
    assert ("conv_general_dilated" in program) is not product


def test_a_portable_program_is_made_for_no_device():
    assert device().platform == "cpu"
    with portable():
        assert device() == Device("", "")
