"""PRMs put into a trained network change nothing at the start, and can learn."""

from functools import partial

import jax
import numpy as np
import pytest
from interop.support import shapes_of, trained

from prm_flax import create_model
from prm_flax.backbones.resnet import Bottleneck, ResNet
from prm_flax.backbones.slot import PRMFactory
from prm_flax.interop.insert import insert_prm
from prm_flax.interop.shapes import flatten
from prm_flax.interop.torch import from_state_dict, to_state_dict

IMAGE = (32, 32, 3)
SMALL = {"stem": "3x3"}
FRESH = {"alpha": 0.0, "beta": 1.0, "lam": 0.0, "xi": 1.0, "theta": 0.5, "d": 1.0}


def resnet14(prm, **options):
    """Basic blocks."""
    return create_model("prm_resnet14" if prm else "resnet14", 10, **SMALL, **options)


def bottlenecks(prm):
    """ResNet-50's blocks, three of them."""
    slot = {"recalibration": PRMFactory(8), "slot": "prm"} if prm else {}
    return ResNet(Bottleneck, (1, 1, 1), 8, num_classes=10, stem="3x3", **slot)


def mnasnet(prm):
    """Inverted residuals; MobileNetV2's are in tests/e2e, with its real weights."""
    return create_model("prm_mnasnet1_0" if prm else "mnasnet1_0", 10)


def with_prm(model, plain, weights):
    """The variables of a PRM network: fresh PRMs, all else as in the plain one's."""

    def start(path, leaf):
        return np.full(leaf.shape, FRESH.get(path[-1].key, np.nan), leaf.dtype)

    fresh = jax.tree_util.tree_map_with_path(start, shapes_of(model))
    names = to_state_dict(plain, weights)
    return from_state_dict(model, names, into=fresh, new=("prm",))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(2, *IMAGE))


@pytest.mark.parametrize(
    "network",
    [
        resnet14,
        partial(resnet14, remat=True),
        bottlenecks,
        pytest.param(mnasnet, marks=pytest.mark.slow),
    ],
    ids=["resnet14", "resnet14-remat", "bottlenecks", "mnasnet"],
)
def test_the_logits_are_unchanged_up_to_rounding(network, images, x64):
    plain, model = network(prm=False), network(prm=True)
    weights = trained(plain)
    want = jax.jit(plain.apply)(weights, images)
    fresh, apply = with_prm(model, plain, weights), jax.jit(model.apply)
    got = apply(insert_prm(model, fresh, IMAGE), images)
    assert np.std(want) > 1e-2
    assert np.abs(got - want).max() <= 1e-12 * np.std(want)
    assert np.abs(apply(fresh, images) - want).max() > 1e-2 * np.std(want)


@pytest.fixture(scope="module")
def inserted():
    """PRM-ResNet-14 in float32: its variables before and after."""
    plain, model = resnet14(prm=False), resnet14(prm=True)
    weights = jax.tree.map(np.float32, trained(plain))
    fresh = with_prm(model, plain, weights)
    return model, fresh, insert_prm(model, fresh, IMAGE)


def test_the_prms_have_a_slope_to_learn_with(inserted, images):
    model, _, variables = inserted

    def loss(params):
        ready = np.float32(images)
        return model.apply(variables | {"params": params}, ready)[:, 0].sum()

    slopes = flatten(jax.jit(jax.grad(loss))(variables["params"]))
    for path, slope in slopes.items():
        if path[-1] in ("lam", "xi"):
            assert np.abs(slope).max() > 1e-4, path


def test_only_norms_before_prms_change_and_keep_their_dtype(inserted):
    before, after = map(flatten, inserted[1:])
    changed = {p for p in before if not np.array_equal(before[p], after[p])}
    blocks = [f"layer{k}_{i}" for k in (1, 2, 3) for i in (0, 1)]
    assert changed == {
        ("params", block, "bn2", leaf) for block in blocks for leaf in ("scale", "bias")
    }
    assert all(after[p].dtype == before[p].dtype for p in before)


def test_a_prm_that_was_trained_stays(inserted):
    model, fresh, _ = inserted
    after = insert_prm(model, fresh, IMAGE, trained=flatten(fresh))
    jax.tree.map(np.testing.assert_array_equal, after, fresh)


def test_a_network_without_prms_stays():
    model = resnet14(prm=False)
    weights = jax.tree.map(np.float32, trained(model))
    after = insert_prm(model, weights, IMAGE)
    jax.tree.map(np.testing.assert_array_equal, after, weights)
