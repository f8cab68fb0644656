"""A config and what is built from it."""

import dataclasses
import re
from itertools import filterfalse

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.run import REPO, TINY

from prm_flax import complexity, create_model, list_models
from prm_flax.backbones import registry
from prm_flax.backbones.prefixes import PRM_OPTIONS
from train import sharding
from train.cli import load_config
from train.config import Config, Data, Model
from train.experiment import (
    ROOT,
    assemble,
    build,
    check_options,
    kind_of,
    parameter_count,
    workdir_of,
)
from train.tasks.classification_setup import model_options

CONFIGS = sorted(
    path.relative_to(REPO)
    for path in (REPO / "configs").rglob("*.py")
    if path.name not in ("__init__.py", "recipe.py")
)
TINY_DATA = load_config(REPO / TINY).data.root


def is_of_boxes(path):
    return path.parts[1] in ("coco", "fashion_scenes", "trees")


@pytest.mark.parametrize("path", [*filterfalse(is_of_boxes, CONFIGS)], ids=str)
def test_every_config_builds(path):
    """On images of the same size, which are here without its data set."""
    config = load_config(REPO / path)
    experiment = build(dataclasses.replace(config, data=stand_in(config.data)))
    images = experiment.input
    assert experiment.steps == config.epochs * (
        images.train_images // config.batch_size
    )
    assert experiment.model.num_classes == len(images.class_names)
    cost = complexity(experiment.model, images.image_shape)
    assert parameter_count(experiment) == cost.parameters


@pytest.mark.parametrize("path", [*filter(is_of_boxes, CONFIGS)], ids=str)
def test_every_config_of_a_detector_builds(path):
    """Without its images, of which the numbers alone are known."""
    config = load_config(REPO / path)
    data = dataclasses.replace(config.data, scene_count=(40, 4))
    config = dataclasses.replace(config, data=data)
    images = kind_of(config).fake_input(config)
    check_options(config, 1)
    experiment = assemble(config, sharding.make_mesh(jax.devices()[:1]), images)
    assert experiment.steps == config.epochs * -(
        -images.train_images // config.batch_size
    )
    assert experiment.model.num_classes == len(images.class_names)


def stand_in(data):
    if data.source == "fashion_mnist":
        return dataclasses.replace(data, source="idx", root=TINY_DATA)
    return dataclasses.replace(data, source="fake_imagenet")


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_every_config_says_how_it_is_run(path):
    text = (REPO / path).read_text()
    assert re.search(rf"^python -m train fit {path}( |$)", text, re.MULTILINE)
    name = "_".join(path.with_suffix("").parts[1:])
    assert load_config(REPO / path).name == name
    listed = (REPO / "configs/README.md").read_text()
    assert f"]({path.relative_to('configs')})" in listed


# What the program does not offer: precision of parameters, features, own modules.
NOT_OFFERED = {"param_dtype", "features_only", "recalibration"}


def test_the_options_are_create_models():
    known = set()
    for name in list_models():
        prefix, plain = registry._split(name)
        known |= set(registry._options(registry.NETWORKS[plain], prefix))
    fields = {field.name for field in dataclasses.fields(Model)}
    assert fields - {"name", "num_classes"} == known - NOT_OFFERED


GIVEN = {
    "stem": "3x3_stride2",
    "batch_norm": 8,
    "bn_momentum": 0.5,
    "bn_epsilon": 1e-3,
    "dropout": 0.25,
    "zero_init": True,
    "remat": True,
    "groups": 4,
    "similarity": "cosine",
    "ddof": 1,
    "position": False,
    "normalize": False,
}


@pytest.mark.parametrize("option", GIVEN)
def test_every_option_arrives(option):
    model = create_model(
        "prm_resnet14", 10, **model_options(Model(**{option: GIVEN[option]}))
    )
    place = model.recalibration if option in PRM_OPTIONS else model
    assert getattr(place, option) == GIVEN[option]


def test_the_dtype_arrives_at_network_and_prm():
    options = model_options(Model(dtype="bfloat16"))
    model = create_model("prm_resnet14", 10, **options)
    assert model.dtype == model.recalibration.dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_float16_alone_scales_its_loss(dtype):
    config = load_config(REPO / TINY)
    model = dataclasses.replace(config.model, dtype=dtype)
    state = build(dataclasses.replace(config, model=model)).abstract_state
    assert (state.loss_scale is not None) == (dtype == "float16")


@pytest.mark.parametrize("name", list_models())
def test_what_is_not_given_is_the_networks_own(name):
    model = create_model(name, 10, **model_options(Model(name=name)))
    assert model == create_model(name, 10)


def test_the_folder_is_runs_name_unless_given():
    assert workdir_of(Config(name="a")).absolute() == ROOT / "runs" / "a"
    assert str(workdir_of(Config(name="a", workdir="/b"))) == "/b"


@pytest.fixture(scope="module")
def experiment():
    return build(load_config(REPO / TINY))


def test_the_numbers_of_the_run(experiment):
    assert experiment.steps == 20
    assert parameter_count(experiment) == 175_180
    assert experiment.mesh.size == len(jax.devices()) == 4
    assert experiment.task.network(variables={}).options == {
        "stem": "3x3_stride2",
        "groups": 8,
        "batch_norm": "global",
        "zero_init": False,
        "remat": False,
        "num_classes": 10,
    }


def test_the_rate_warms_up_and_ends_at_zero(experiment):
    rates = [float(experiment.schedule(step)) for step in range(20)]
    np.testing.assert_allclose(rates[:5], [0.02, 0.04, 0.06, 0.08, 0.1], rtol=1e-5)
    assert rates[-1] == pytest.approx(0, abs=1e-8)


def test_the_first_state_is_as_announced(experiment):
    state = experiment.init()
    announced = experiment.abstract_state
    assert jax.tree.structure(state) == jax.tree.structure(announced)

    def same(leaf, shape):
        assert (leaf.shape, leaf.dtype) == (shape.shape, shape.dtype)
        assert leaf.sharding.is_equivalent_to(shape.sharding, leaf.ndim)

    jax.tree.map(same, state, announced)


def test_the_batches_are_augmented_as_asked():
    data = Data(source="fake", crop_padding=2, flip=True)
    config = Config(name="a", data=data, model=Model("resnet14"), batch_size=8, seed=3)
    images = build(config).input
    assert (images.crop_padding, images.flip, images.seed) == (2, True, 3)
