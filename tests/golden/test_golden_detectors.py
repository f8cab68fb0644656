"""Detectors against the numbers of a public detection library."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden

from prm_flax.detection import create_detector
from prm_flax.interop.torch import from_state_dict, to_state_dict

FILES = golden.names("det_net_retinanet_*")
QUICK = "det_net_retinanet_prm_resnet50_128x160_b2"
PARAMETERS = [
    pytest.param(name, marks=() if name == QUICK else pytest.mark.slow)
    for name in FILES
]


def detector(name):
    """With the official code's σ, and weights by the files' rule."""
    meta = golden.load(name).meta
    options = {"ddof": 1} if meta["network"].startswith("prm_") else {}
    model = create_detector(f"{meta['detector']}_{meta['network']}", **options)
    return model, golden.detector_state_dict(golden.load(name))


@functools.cache
def computed(name, dtype):
    """The head's outputs and the pyramid."""
    model, weights = detector(name)
    variables = from_state_dict(model, weights)
    cast = functools.partial(jnp.asarray, dtype=dtype)

    @jax.jit
    def run(variables, images):
        pyramid, _ = model.apply(variables, images, method="pyramid")
        return model.apply(variables, images), pyramid

    images = cast(golden.images(golden.load(name)))
    return run(jax.tree.map(cast, variables), images)


def arrays_of(name, dtype):
    """What came and what is right: (level, array, array), the files' layout."""
    file, (outputs, pyramid) = golden.load(name), computed(name, dtype)
    for k, level in enumerate(pyramid):
        yield level[..., :32].mean((1, 2)), file.arrays[f"fpn_mean/level{k}"]
    for kind, maps in (("cls", outputs.logits), ("reg", outputs.deltas)):
        for k, got in enumerate(maps):
            got = np.moveaxis(np.reshape(got, (*got.shape[:3], -1)), -1, 1)
            every = f"{kind}_every7/level{k}"
            if every in file.arrays:
                yield got.ravel()[::7], file.arrays[every]
            else:
                yield got, file.arrays[f"{kind}/level{k}"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_outputs_float64(name, x64):
    for got, want in arrays_of(name, jnp.float64):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-9 * want.std())


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_outputs_float32(name):
    for got, want in arrays_of(name, jnp.float32):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", PARAMETERS)
def test_weights_come_back_by_the_reference_s_names(name):
    model, weights = detector(name)
    back = to_state_dict(model, from_state_dict(model, weights))
    assert back.keys() == weights.keys()
    for each, want in weights.items():
        np.testing.assert_array_equal(back[each], want)
