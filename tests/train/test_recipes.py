"""The experiments on ImageNet are the paper's, each once."""

import dataclasses

import numpy as np
import pytest
from support.run import REPO

from prm_flax import list_models
from train.cli import load_config
from train.config import Config, Data
from train.optim import make_schedule

FOLDER = REPO / "configs/imagenet"
CONFIGS = {
    path.stem: load_config(path)
    for path in sorted(FOLDER.glob("*.py"))
    if path.stem not in ("__init__", "recipe")
}
# Images of the training set over those of a batch.
EPOCH = 1_281_167 // 256
COMPARED = {f"{name}_resnet50" for name in ("se", "ge", "cbam", "sk", "gc", "sge")}
# Paper, section 2 of what the authors published: names of small-image networks apart;
# and its Table 1.
NETWORKS = COMPARED | {
    f"{prefix}{name}"
    for prefix in ("", "prm_")
    for name in (
        *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
        "mobilenet_v2",
        "mnasnet1_0",
    )
}
# Tables 3 and 5, Figure 4: what differs from the network's plain PRM.
VARIANTS = {
    "prm_resnet50_cosine": {"similarity": "cosine"},
    "prm_resnet50_l1": {"similarity": "l1"},
    "prm_mobilenet_v2_cosine": {"similarity": "cosine"},
    "prm_mobilenet_v2_l1": {"similarity": "l1"},
    "prm_resnet18_similarity": {"position": False, "normalize": False},
    "prm_resnet18_position": {"normalize": False},
    "prm_resnet18_normalization": {"position": False},
    **{f"prm_resnet18_heads{g}": {"groups": g} for g in (8, 16, 32, 128)},
}


def is_resnet(name):
    """Whether a config's network is a ResNet; the others are mobile networks."""
    return "resnet" in CONFIGS[name].model.name


def test_all_networks_and_variants_are_there():
    assert CONFIGS.keys() == NETWORKS | VARIANTS.keys()
    assert len(NETWORKS) == 20 and set(list_models()) >= NETWORKS


def test_a_network_is_the_one_of_its_name():
    assert [name for name in NETWORKS if CONFIGS[name].model.name != name] == []


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_in_what_it_studies_alone(name):
    variant = CONFIGS[name]
    plain = CONFIGS[variant.model.name]
    assert name.startswith(plain.model.name)
    want = dataclasses.replace(plain.model, **VARIANTS[name])
    assert dataclasses.replace(variant, name=plain.name, model=want) == (
        dataclasses.replace(plain, model=want)
    )
    assert variant.model == want != plain.model


# What all share, and what a family has of its own.
DATA = Data(
    source="imagenet2012",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    flip=True,
    image_size=224,
    crop_area=(0.1, 1.0),
    crop_aspect=(0.8, 1.25),
    eval_resize=256,
)
MODEL = {"batch_norm": 32, "ddof": None, "dtype": None}
SGD = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": False,
    "label_smoothing": 0.0,
    "ema": 0.0,
    "accumulate": 1,
}
RESNET = {"epochs": 100, "weight_decay": 1e-4, "no_decay": set()}
MOBILE = {
    "epochs": 150,
    "weight_decay": 4e-5,
    "no_decay": {"prm", "depthwise", "norms", "biases"},
}


def recipe_of(config: Config):
    """The fields of a config that the tables above give."""
    optim = config.optim
    return {
        "data": config.data,
        "batch_size": config.batch_size,
        "model": {name: getattr(config.model, name) for name in MODEL},
        "optim": {name: getattr(optim, name) for name in SGD},
        "epochs": config.epochs,
        "weight_decay": optim.weight_decay,
        "no_decay": set(optim.no_decay),
    }


def test_every_config_has_the_recipe_of_its_family():
    shared = {"data": DATA, "batch_size": 256, "model": MODEL, "optim": SGD}
    want = {name: shared | RESNET for name in CONFIGS if is_resnet(name)}
    want |= {name: shared | MOBILE for name in CONFIGS if not is_resnet(name)}
    assert {name: recipe_of(config) for name, config in CONFIGS.items()} == want


def staircase(steps):
    return 0.1 * 0.1 ** (steps // EPOCH // 30)


def warm_cosine(steps):
    t = (steps + 1) / EPOCH
    cosine = 0.1 / 2 * (1 + np.cos(np.pi * (t - 5) / 145))
    return np.where(steps < 5 * EPOCH, 0.1 * t / 5, cosine)


def moments(epochs, within):
    """Steps: some of each of some epochs."""
    return np.add.outer(EPOCH * np.array(epochs), within).ravel()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_learning_rate_is_the_papers(name):
    config = CONFIGS[name]
    schedule = make_schedule(config.optim, config.epochs, EPOCH, config.batch_size)
    if is_resnet(name):
        steps = moments([0, 29, 30, 59, 60, 89, 90, 99], [0, EPOCH - 1])
        np.testing.assert_allclose(schedule(steps), staircase(steps), rtol=1e-5)
    else:
        steps = moments([0, 1, 4, 5, 6, 77, 148, 149], [0, 2501, EPOCH - 1])
        want = warm_cosine(steps)
        np.testing.assert_allclose(schedule(steps), want, rtol=1e-4, atol=1e-7)
