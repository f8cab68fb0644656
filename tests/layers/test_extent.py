"""What is outside of an image's own part of a padded map has no influence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import one_block_a_stage, random_variables

from prm_flax import PRM, PRMParams, create_model, recalibrate
from prm_flax.attention import CBAM, GC, GE, SE, SGE, SK
from prm_flax.layers.extent import cut, strided
from prm_flax.nnx import PRM as NNXPRM

pytestmark = pytest.mark.usefixtures("x64")
H, W, C = 9, 8, 16
EXTENTS = np.array([[5, 6], [9, 8], [3, 1]], np.int32)
MODULES = {
    "prm": PRM(4),
    "prm, definition": PRM(4, kernel="xla"),
    "prm, cosine": PRM(4, similarity="cosine", ddof=1),
    "prm, l1": PRM(4, similarity="l1", position=False),
    "prm, not normalised": PRM(4, normalize=False),
    "se": SE(4),
    "ge": GE(),
    "ge, extent 2": GE(2),
    "ge, extent 4": GE(4),
    "gc": GC(4),
    "cbam": CBAM(4),
    "sge": SGE(4),
    "sk": SK(16, groups=4),
    "sk, stride 2": SK(16, 2, groups=4),
}
STRIDES = {"sk, stride 2": 2}
NETWORKS = [
    "prm_resnet18",
    "gc_resnet50",
    "sk_resnet18",
    "cbam_mobilenet_v2",
    pytest.param("sge_mnasnet1_0", marks=pytest.mark.slow),
    pytest.param("se_resnet14", marks=pytest.mark.slow),
    pytest.param("ge_mobilenet_v2", marks=pytest.mark.slow),
]


def features():
    return np.random.default_rng(0).normal(size=(len(EXTENTS), H, W, C))


def spoiled(x):
    """The same inside, and what no computation survives outside."""
    x = np.array(x)
    for image, (h, w) in zip(x, EXTENTS, strict=True):
        image[h:], image[:, w:] = np.nan, 1e30
    return jnp.asarray(x)


@functools.cache
def variables(name):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(
        MODULES[name].init, jax.random.key(0), jnp.ones((1, H, W, C))
    )
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.3, 1.2, leaf.shape)), shapes
    )


@pytest.mark.parametrize("name", MODULES)
def test_a_module_computes_what_it_would_of_each_image_alone(name):
    """Values, and gradients to the features and the parameters."""
    module, v, x = MODULES[name], variables(name), features()
    stride = STRIDES.get(name, 1)

    def value(v, x, extent=None):
        y = module.apply(v, x, extent=extent)
        return jnp.square(y).sum(), y

    gradients = jax.value_and_grad(value, (0, 1), has_aux=True)
    (_, y), (to_v, to_x) = jax.jit(gradients)(v, spoiled(x), EXTENTS)
    alone = [gradients(v, x[i : i + 1, :h, :w]) for i, (h, w) in enumerate(EXTENTS)]

    near = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    for i, ((_, own), (_, to_own)) in enumerate(alone):
        h, w = EXTENTS[i]
        near(to_x[i], np.pad(to_own[0], ((0, H - h), (0, W - w), (0, 0))))
        inside = own.shape[1:3]
        pad = [
            (0, all_ - own_) for all_, own_ in zip(y.shape[1:3], inside, strict=True)
        ]
        assert inside == (-(-h // stride), -(-w // stride))
        near(y[i], np.pad(own[0], (*pad, (0, 0))))
    total = jax.tree.map(lambda *each: sum(each), *(g[0] for _, g in alone))
    size = max(
        map(lambda leaf: float(jnp.abs(leaf).max()), jax.tree.leaves(total)), default=1
    )
    jax.tree.map(lambda a, b: near(a, b, atol=1e-9 * size), to_v, total)


@pytest.mark.parametrize("name", MODULES)
def test_the_whole_map_as_extent_changes_nothing(name):
    x = jnp.asarray(features())
    whole = jnp.tile(jnp.array([[H, W]]), (len(x), 1))
    apply = jax.jit(MODULES[name].apply)
    want = apply(variables(name), x)
    np.testing.assert_allclose(apply(variables(name), x, extent=whole), want, 1e-12)


@pytest.mark.parametrize("name", MODULES)
def test_an_image_without_pixels_is_0(name):
    x = spoiled(features())
    y = jax.jit(MODULES[name].apply)(variables(name), x, extent=jnp.zeros((3, 2), int))
    assert not y.any()


@pytest.mark.parametrize("name", ["cbam", "sk"])
def test_a_batch_s_own_statistics_are_refused(name):
    with pytest.raises(ValueError, match="running statistics"):
        MODULES[name].apply(
            variables(name), features(), train=True, extent=jnp.asarray(EXTENTS)
        )


def test_the_maps_are_0_outside_and_the_query_is_inside():
    leaves = variables("prm")["params"]
    params = PRMParams(**leaves)
    _, maps = recalibrate(
        spoiled(features()), params, extent=jnp.asarray(EXTENTS), return_maps=True
    )
    assert (np.asarray(maps.query) < EXTENTS[:, None]).all()
    for each in maps[1:]:
        np.testing.assert_array_equal(each, cut(each, jnp.asarray(EXTENTS)))


def test_linen_and_nnx_agree():
    from flax import nnx

    module = NNXPRM(4, rngs=nnx.Rngs(0))
    for name, leaf in variables("prm")["params"].items():
        getattr(module, name).set_value(leaf)
    x, extent = spoiled(features()), jnp.asarray(EXTENTS)
    want = PRM(4).apply(variables("prm"), x, extent=extent)
    np.testing.assert_array_equal(module(x, extent=extent), want)


@pytest.mark.parametrize(
    "extent", [np.ones((3, 3), int), np.ones((2,), int), np.ones((3, 2))]
)
def test_an_extent_of_another_shape_or_kind_is_refused(extent):
    with pytest.raises(ValueError, match="rows and columns of each map"):
        PRM(4).apply(variables("prm"), spoiled(features()), extent=jnp.asarray(extent))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_what_it_would_of_each_image_alone(name):
    options = {"groups": 8} if name.startswith(("prm", "sge")) else {}
    network = one_block_a_stage(name, num_classes=5, **options)
    extents = np.array([[32, 64], [64, 32], [64, 64]], np.int32)
    x = np.random.default_rng(2).normal(size=(3, 64, 64, 3))
    x = cut(jnp.asarray(x), jnp.asarray(extents))
    v = random_variables(network, (64, 64, 3), jnp.float64)
    apply = jax.jit(network.apply)
    got = apply(v, x, extent=jnp.asarray(extents))
    own = [apply(v, x[i : i + 1, :h, :w])[0] for i, (h, w) in enumerate(extents)]
    np.testing.assert_allclose(got, jnp.stack(own), rtol=0, atol=1e-9 * got.std())


def test_frozen_stages_and_the_stem_get_no_gradient():
    network = create_model("prm_resnet14", groups=8, features_only=True)
    network = network.clone(depths=(1, 1, 1), frozen_stages=1)
    v = random_variables(network, (32, 32, 3))

    def total(params):
        return sum(f.sum() for f in network.apply(v | {"params": params}, x).values())

    x = jnp.ones((1, 32, 32, 3))
    gradients = jax.jit(jax.grad(total))(v["params"])
    moved = {k for k, g in gradients.items() if any(map(jnp.any, jax.tree.leaves(g)))}
    assert moved == {"layer2_0", "layer3_0"}


def test_a_stride_rounds_up():
    assert strided(jnp.array([[5, 8]]), 2).tolist() == [[3, 4]]
    assert strided(None, 2) is None
