"""Which parameters decay: by name of their kind, and counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from prm_flax import PRM, create_model
from train.optim import EXEMPT, decay_mask

MOBILE_RECIPE = ("norms", "biases", "prm", "depthwise")
PRM_LEAVES = {"alpha", "beta", "lam", "xi", "theta", "d"}


def parameters(model, channels=3):
    """Shapes of a network's parameters."""
    images = jnp.ones((1, 32, 32, channels))
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def flat(tree):
    """Names of the modules and of the leaf -> leaf."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {tuple(key.key for key in path): leaf for path, leaf in leaves}


def kept(params, *exempt):
    """The paths that do not decay."""
    return {
        path for path, decays in flat(decay_mask(exempt)(params)).items() if not decays
    }


@pytest.fixture(scope="module")
def prm_resnet():
    return parameters(create_model("prm_resnet14", 10, groups=8))


def test_without_exemptions_everything_decays(prm_resnet):
    assert kept(prm_resnet) == set()


def test_norms(prm_resnet):
    norm = ("bn1", "bn2", "downsample_1")
    want = {path for path in flat(prm_resnet) if path[-2] in norm}
    assert kept(prm_resnet, "norms") == want
    assert len(want) == 2 * (1 + 6 * 2 + 2)  # stem, two a block, two shortcuts


def test_biases(prm_resnet):
    want = {path for path in flat(prm_resnet) if path[-1] == "bias"}
    assert kept(prm_resnet, "biases") == want
    assert ("fc", "bias") in want and ("bn1", "bias") in want


def test_prm(prm_resnet):
    want = {path for path in flat(prm_resnet) if path[-2] == "prm"}
    assert kept(prm_resnet, "prm") == want
    assert {path[-1] for path in want} == PRM_LEAVES and len(want) == 6 * 6


def test_d_theta(prm_resnet):
    want = {path for path in flat(prm_resnet) if path[-1] in ("d", "theta")}
    assert kept(prm_resnet, "d_theta") == want
    assert len(want) == 6 * 2


def test_depthwise_does_not_touch_ordinary_convolutions(prm_resnet):
    assert kept(prm_resnet, "depthwise") == set()


def test_the_stem_of_a_network_for_grey_images_sees_one_channel():
    params = parameters(create_model("resnet14", 10), channels=1)
    assert kept(params, "depthwise") == {("conv1", "kernel")}


def test_a_dense_layer_of_one_input_is_not_depthwise():
    assert kept({"fc": {"kernel": jnp.ones((1, 3))}}, "depthwise") == set()


def any_prm(channels, stage):
    return PRM(4)


def test_prm_is_known_under_any_name():
    params = parameters(create_model("resnet14", 10, recalibration=any_prm))
    want = {path for path in flat(params) if path[-2] == "recalibration"}
    assert kept(params, "prm") == want and len(want) == 36


def test_exemptions_add_up(prm_resnet):
    each = [kept(prm_resnet, name) for name in EXEMPT]
    assert kept(prm_resnet, *EXEMPT) == set.union(*each)


def test_an_unknown_exemption_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'norms'"):
        decay_mask(("norm",))


# Papers' tables: (expansion, channels, repeats, kernel).
MOBILENET = [
    (1, 16, 1, 3), (6, 24, 2, 3), (6, 32, 3, 3), (6, 64, 4, 3), (6, 96, 3, 3),
    (6, 160, 3, 3), (6, 320, 1, 3),
]  # fmt: skip
# The first row is the separable layer before the blocks.
MNASNET = [
    (1, 16, 1, 3), (3, 24, 3, 3), (3, 40, 3, 5), (6, 80, 3, 5), (6, 96, 2, 3),
    (6, 192, 4, 5), (6, 320, 1, 3),
]  # fmt: skip


def by_hand(table):
    """Leaves and numbers that decay: all kernels but the depthwise."""
    leaves, numbers, before = 3, 3 * 3 * 3 * 32 + 320 * 1280 + 1280 * 1000, 32
    depthwise = 0
    for expansion, channels, repeats, kernel in table:
        for _ in range(repeats):
            hidden = expansion * before
            expand = before * hidden if expansion > 1 else 0
            leaves += 2 if expand else 1
            numbers += expand + hidden * channels
            depthwise += hidden * kernel**2
            before = channels
    return leaves, numbers, depthwise


def sizes(params, paths):
    return sum(flat(params)[path].size for path in paths)


@pytest.mark.parametrize(
    "name, table, depthwise",
    [
        ("prm_mobilenet_v2", MOBILENET, ("conv_1_0",)),
        ("prm_mnasnet1_0", MNASNET, ("layers_3",)),
    ],
)
def test_the_official_mobile_recipe(name, table, depthwise):
    params = parameters(create_model(name))
    decaying = flat(params).keys() - kept(params, *MOBILE_RECIPE)
    leaves, numbers, depthwise_numbers = by_hand(table)
    assert len(decaying) == leaves
    assert sizes(params, decaying) == numbers
    assert sizes(params, kept(params, "depthwise")) == depthwise_numbers
    # By the names of the layers; MobileNetV2's first block counts them otherwise.
    depthwise_paths = {
        path
        for path in flat(params)
        if path[-2] in depthwise or path[:-1] == ("features_1", "conv_0_0")
    }
    kernels = {path for path in flat(params) if path[-1] == "kernel"}
    assert decaying == kernels - depthwise_paths
