"""Query points, masks, contribution rates and Grad-CAM against the golden arrays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden

from prm_flax import create_model
from prm_flax.figures import maps
from prm_flax.interop.torch import from_state_dict

FILES = [
    n
    for n in golden.names("net_*_eval", *golden.RELATED)
    if any(golden.load(n).under("gradcam"))
]
pytestmark = pytest.mark.parametrize("name", FILES)


@functools.cache
def network(name):
    """Model, variables and images in float64."""
    file = golden.load(name)
    model = create_model(file.meta["network"], ddof=1)
    variables = from_state_dict(model, golden.state_dict(file))
    wide = functools.partial(jnp.asarray, dtype=jnp.float64)
    return model, jax.tree.map(wide, variables), wide(golden.images(file))


def by_torch_name(found):
    return {n.replace("_", ".").replace("/", "."): value for n, value in found.items()}


def test_query_points_and_masks(name, x64):
    model, variables, images = network(name)
    file, size = golden.load(name), images.shape[1]
    masks = by_torch_name(maps.positional_masks(model, variables, images))
    points = by_torch_name(maps.queries(model, variables, images))
    assert list(masks) == list(points) == list(file.under("pos_mask"))
    for module, mask in file.under("pos_mask").items():  # stored as float32
        np.testing.assert_allclose(masks[module], mask, rtol=1e-6, atol=1e-6)
        scale = size / mask.shape[-1]
        expected = (file.under("query_rc")[module] + 0.5) * scale - 0.5
        np.testing.assert_array_equal(points[module], expected)


def test_contribution_rates(name, x64):
    rates = by_torch_name(maps.contribution_rates(network(name)[1]))
    wanted = golden.load(name).under("rate")
    assert list(rates) == list(wanted)
    for module, want in wanted.items():
        assert rates[module] == pytest.approx(float(want), rel=1e-12)


@functools.cache
def cam(name):
    return maps.grad_cam(*network(name))


def test_grad_cam(name, x64):
    file, found = golden.load(name), cam(name)
    np.testing.assert_array_equal(found.classes, file.arrays["gradcam_class"])
    wanted = file.under("gradcam")
    assert list(found.maps) == [layer.replace("layer", "stage") for layer in wanted]
    for got, want in zip(found.maps.values(), wanted.values(), strict=True):
        assert got.dtype == np.float64
        assert np.abs(got - want).max() <= 1e-8 * want.std()


def test_grad_cam_enlarged(name, x64):
    size = network(name)[2].shape[1:3]
    for layer, want in golden.load(name).under("gradcam_full").items():
        map_ = cam(name).maps[layer.replace("layer", "stage")]
        full = maps.in_unit_range(maps.enlarged(map_, size))
        np.testing.assert_allclose(full, want, rtol=1e-6, atol=1e-6)


def test_grad_cam_float32(name):
    model, variables, images = network(name)
    narrow = functools.partial(jnp.asarray, dtype=jnp.float32)
    found = maps.grad_cam(model, jax.tree.map(narrow, variables), narrow(images))
    for got, want in zip(found.maps.values(), cam(name).maps.values(), strict=True):
        assert np.abs(got - want).max() <= 1e-3 * want.std()
