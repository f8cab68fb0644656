"""Grad-CAM: against the formula on a network of a few lines, and on the zoo's."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.networks import random_variables

from prm_flax import create_model
from prm_flax.figures import gradcam
from prm_flax.figures.maps import grad_cam, has_prm

IMAGE = (32, 32, 3)


class Two(nn.Module):
    """Two stages of a product each, their mean, and a linear layer."""

    features_only: bool = False
    loose: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        first = nn.Dense(3, name="one")(x)
        second = nn.Dense(4, name="two")(nn.avg_pool(first, (2, 2), (2, 2)) ** 2)
        if self.features_only:
            return {"stage1": first + 0 if self.loose else first, "stage2": second}
        return nn.Dense(5, name="head")(second.mean((1, 2)))


def random_images(*shape):
    return jnp.asarray(np.random.default_rng(3).normal(size=shape), jnp.float32)


@pytest.fixture(scope="module")
def two():
    x = random_images(2, 4, 6, 2)
    return Two(), random_variables(Two(), (4, 6, 2)), x


def by_hand(variables, x, classes):
    """The maps of `Two`, the gradients written out."""
    p = variables["params"]
    dense = lambda a, name: a @ p[name]["kernel"] + p[name]["bias"]  # noqa: E731
    first = dense(x, "one")
    b, h, w, _ = first.shape
    pooled = first.reshape(b, h // 2, 2, w // 2, 2, 3).mean((2, 4))
    second = dense(pooled**2, "two")
    of_class = p["head"]["kernel"][:, classes].T  # (b, 4)
    slope2 = of_class[:, None, None] / (h * w / 4) * jnp.ones_like(second)
    slope_pooled = (slope2 @ p["two"]["kernel"].T) * 2 * pooled
    slope1 = slope_pooled.repeat(2, 1).repeat(2, 2) / 4
    pairs = ((first, slope1), (second, slope2))
    return [
        np.maximum((s.mean((1, 2), keepdims=True) * a).sum(-1), 0) for a, s in pairs
    ]


@pytest.mark.parametrize("classes", [None, 3, [4, 0]])
def test_it_is_the_formula(two, classes):
    model, variables, x = two
    found = grad_cam(model, variables, x, classes)
    logits = model.apply(variables, x)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-5)
    wanted = logits.argmax(-1) if classes is None else np.broadcast_to(classes, 2)
    np.testing.assert_array_equal(found.classes, wanted)
    assert list(found.maps) == ["stage1", "stage2"]
    for got, want in zip(
        found.maps.values(), by_hand(variables, x, wanted), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
        assert want.max() > 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet14", {}),
        ("prm_resnet14", {"groups": 8, "remat": True}),
        ("se_resnet14", {}),
        ("sk_resnet14", {}),
        ("mobilenet_v2", {}),
        ("prm_mnasnet1_0", {"dtype": jnp.bfloat16}),
    ],
)
def test_every_kind_of_network_has_a_map_for_each_feature(name, options):
    model: Any = create_model(name, num_classes=3, **options)
    x = random_images(1, *IMAGE)
    found = jax.eval_shape(lambda: _cam(model, random_variables(model, IMAGE), x))
    expected = {s: (1, -(-32 // n), -(-32 // n)) for s, _, n in model.feature_info}
    assert {stage: map_.shape for stage, map_ in found.items()} == expected
    assert {map_.dtype for map_ in found.values()} == {jnp.dtype("float32")}


def _cam(model, variables, x):
    return gradcam._run(gradcam._plain(model), variables, x, None)[2]


def test_images_of_a_batch_do_not_matter_to_each_other(two):
    model, variables, x = two
    together = grad_cam(model, variables, x).maps
    for k in range(len(x)):
        alone = grad_cam(model, variables, x[k : k + 1]).maps
        for stage, map_ in alone.items():
            np.testing.assert_allclose(map_[0], together[stage][k], rtol=1e-5)


def test_remat_changes_nothing():
    plain = create_model("prm_resnet14", num_classes=3, groups=4)
    again = create_model("prm_resnet14", num_classes=3, groups=4, remat=True)
    x, variables = random_images(1, *IMAGE), random_variables(plain, IMAGE)
    assert has_prm(again, variables, x)
    one, two = (grad_cam(m, variables, x).maps for m in (plain, again))
    for stage in one:
        np.testing.assert_array_equal(one[stage], two[stage])


def test_what_a_network_computes_is_untouched(two):
    model, variables, x = two
    before = str(jax.make_jaxpr(model.apply)(variables, x))
    grad_cam(model, variables, x)
    assert str(jax.make_jaxpr(model.apply)(variables, x)) == before


@pytest.mark.parametrize("classes", [5, -1, [0], [0, 1, 2], 1.0, [[0, 1]]])
def test_classes_that_are_none_of_the_networks_are_refused(two, classes):
    with pytest.raises(ValueError, match=r"from 0 to 4, or 2 of them"):
        grad_cam(*two, classes)


def test_a_network_without_logits_or_features_is_refused(two):
    _, variables, x = two
    for model in (nn.Dense(3), Two(features_only=True)):
        with pytest.raises(ValueError, match=r"needs logits, and features_only"):
            grad_cam(model, variables, x)


def test_a_feature_that_no_module_returns_is_refused(two):
    _, variables, x = two
    with pytest.raises(ValueError, match=r"stage1 of Two must be what a module"):
        grad_cam(Two(loose=True), variables, x)


def test_a_single_image_is_refused_with_what_to_pass(two):
    model, variables, x = two
    with pytest.raises(ValueError, match=r"\(4, 6, 2\).*images\[None\]"):
        grad_cam(model, variables, x[0])
