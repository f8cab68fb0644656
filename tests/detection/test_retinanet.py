"""RetinaNet: counts, shapes, and images that do not see what they are padded to."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from support.detectors import NARROW
from support.networks import random_variables

from prm_flax import complexity
from prm_flax.detection import create_detector, list_detectors
from prm_flax.detection.levels import enlarged, last_stages

# Paper, Table 4: GMac at 800×1280; the parameters with those of stem and stage 1.
COUNTS = {
    "resnet50": (37_743_348 + 9_536 + 215_808, 239.3165),
    "se_resnet50": (None, 239.4317),
    "prm_resnet50": (37_746_715 + 9_536 + 215_808 + 3 * 259, 239.4473),
}
SIZES = np.array([[60, 33], [32, 96], [96, 64]])


@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_table_4(name):
    parameters, giga = COUNTS[name]
    got = complexity(create_detector(f"retinanet_{name}"), (800, 1280))
    assert round(got.counter / 1e9, 4) == giga
    assert parameters in (None, got.parameters)


def test_any_network_of_the_zoo_is_a_backbone():
    for name in ("retinanet_prm_mobilenet_v2", "retinanet_sge_resnet14"):
        assert name in list_detectors()
    model = create_detector("retinanet_mobilenet_v2")
    assert [stride for *_, stride in last_stages(model.backbone, 3)] == [8, 16, 32]
    assert model.strides == (8, 16, 32, 64, 128)
    assert create_detector("retinanet_resnet14").strides == (1, 2, 4, 8, 16)


@functools.cache
def small(name="prm_resnet14"):
    options = NARROW["retinanet"] | ({"groups": 4} if name.startswith("prm") else {})
    model = create_detector(f"retinanet_{name}", 3, stem="imagenet", **options)
    model = model.clone(backbone=model.backbone.clone(depths=(1, 1, 1)))
    variables = random_variables(model, (64, 64, 3), jnp.float64)
    return model, jax.tree.map(lambda leaf: leaf / leaf.mean() / 30, variables)


def images(size, seed=0):
    """Noise, also in what is to be padding."""
    return np.random.default_rng(seed).normal(size=(3, *size, 3))


def apply(name="prm_resnet14"):
    model, variables = small(name)
    return functools.partial(jax.jit(model.apply), variables)


@pytest.mark.parametrize(
    ("name", "bucket"),
    [
        *(("prm_resnet14", b) for b in ((96, 96), (96, 160), (160, 96), (128, 128))),
        ("gc_resnet14", (160, 96)),
        ("resnet14", (160, 96)),
    ],
)
def test_an_image_is_what_it_is_in_a_batch_of_one(name, bucket, x64):
    """Padded to a multiple of 32 with zeros, as the references do at test time."""
    x = images(bucket)
    together = apply(name)(jnp.asarray(x), jnp.asarray(SIZES))
    for i, (h, w) in enumerate(SIZES):
        own = np.zeros((1, -(-h // 32) * 32, -(-w // 32) * 32, 3))
        own[0, :h, :w] = x[i, :h, :w]
        alone = apply(name)(jnp.asarray(own))
        pairs = zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True)
        for got, want in pairs:
            rows, columns = want.shape[1:3]
            near = 1e-9 * np.abs(want).max()
            np.testing.assert_allclose(got[i, :rows, :columns], want[0], 0, near)


def test_devices_do_not_change_the_numbers(x64):
    x, sizes = jnp.asarray(images((96, 96))), jnp.asarray(SIZES)
    x, sizes = (jnp.concatenate([a, a[:1]]) for a in (x, sizes))
    want = apply()(x, sizes)
    for count in (2, 4):
        mesh = jax.make_mesh(
            (count,),
            ("data",),
            (jax.sharding.AxisType.Auto,),
            devices=jax.devices()[:count],
        )
        split = NamedSharding(mesh, PartitionSpec("data"))
        got = apply()(*jax.device_put((x, sizes), split))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-12),
            jax.device_get(got),
            jax.device_get(want),
        )


def test_stem_and_stage_1_are_frozen_their_modules_too(x64):
    model, variables = small()
    x = jnp.asarray(images((64, 64)))

    def total(params):
        outputs = model.apply(variables | {"params": params}, x)
        return sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(outputs))

    gradients = jax.jit(jax.grad(total))(variables["params"])
    moved = {
        name
        for name, part in gradients["backbone"].items()
        if any(map(jnp.any, jax.tree.leaves(part)))
    }
    assert moved == {"layer2_0", "layer3_0"}
    assert all(map(jnp.any, jax.tree.leaves(gradients["bbox_head"])))
    assert all(map(jnp.any, jax.tree.leaves(gradients["neck"])))


def test_every_class_starts_at_a_probability_of_one_in_a_hundred():
    model, _ = small()
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    outputs = model.apply(variables, jnp.zeros((1, 64, 64, 3)))
    for logits in outputs.logits:
        np.testing.assert_allclose(jax.nn.sigmoid(logits), 0.01, rtol=1e-5)


def test_enlarged_repeats_the_nearest():
    x = jnp.arange(3.0)[None, :, None, None]
    assert enlarged(x, (6, 2))[0, :, :, 0].T.tolist() == [[0, 0, 1, 1, 2, 2]] * 2
    assert enlarged(x, (5, 1))[0, :, 0, 0].tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("size", "sizes", "match"),
    [
        ((60, 64), None, "multiples of 32"),
        ((64, 64), [[60.0, 64.0]], "rows and columns"),
        ((64, 64), [[60, 64, 3]], "rows and columns"),
    ],
)
def test_what_is_refused(size, sizes, match):
    model, variables = small()
    sizes = None if sizes is None else jnp.array(sizes)
    with pytest.raises(ValueError, match=match):
        model.apply(variables, jnp.zeros((1, *size, 3)), sizes)


def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'retinanet_resnet50'"):
        create_detector("retinanet_resnet5O")
    with pytest.raises(ValueError, match="features_only"):
        create_detector("retinanet_resnet50", features_only=True)


class Halved(nn.Module):
    """A user's module, which knows of no extent."""

    @nn.compact
    def __call__(self, x, train=False):
        return x * self.param("gain", nn.initializers.constant(0.5), ())


def test_a_user_s_module_stands_in_the_backbone(x64):
    """It is called with the whole map, of which the padding is cut again."""
    model = create_detector(
        "retinanet_resnet14", 3, stem="imagenet", recalibration=lambda *_: Halved()
    )
    x = jnp.asarray(images((64, 64))[:1])
    variables = jax.jit(model.init)(jax.random.key(0), x)
    assert variables["params"]["backbone"]["layer1_0"]["recalibration"]["gain"] == 0.5
    sizes = jnp.array([[40, 60]])
    outputs = jax.jit(model.apply)(variables, x, sizes)
    assert all(map(jnp.any, outputs.logits))


def test_what_is_frozen_keeps_nothing_for_the_backward_pass(x64):
    """The gradient needs the first stage's result, for what stands on it, alone."""
    model = small("resnet14")[0]
    x = jnp.zeros((1, 64, 64, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables)
    params = variables["params"]

    def kept(frozen):
        own = model.clone(backbone=model.backbone.clone(frozen_stages=frozen))
        rest = {k: v for k, v in variables.items() if k != "params"}

        def loss(params):
            return own.apply(rest | {"params": params}, x).logits

        _, pull = jax.eval_shape(lambda params: jax.vjp(loss, params), params)
        return [leaf for leaf in jax.tree.leaves(pull) if leaf.ndim == 4]

    def below_stage_2(leaves):
        return [leaf.shape for leaf in leaves if leaf.shape[3] == 16]

    # For the next block's convolution and for its shortcut's.
    assert below_stage_2(kept(1)) == [(1, 16, 16, 16), (1, 8, 8, 16)]
    assert len(below_stage_2(kept(0))) > 6
