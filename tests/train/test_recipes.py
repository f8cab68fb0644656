"""The experiments on ImageNet are the paper's, each once."""

import dataclasses
import math

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
RESNETS = [name for name, config in CONFIGS.items() if "resnet" in config.model.name]
MOBILE = [name for name in CONFIGS if name not in RESNETS]
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


def test_all_networks_and_variants_are_there():
    assert CONFIGS.keys() == NETWORKS | VARIANTS.keys()
    assert len(NETWORKS) == 20 and set(list_models()) >= NETWORKS


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_is_the_one_of_its_name(name):
    assert CONFIGS[name].model.name == name


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


@pytest.mark.parametrize("name", CONFIGS)
def test_what_all_share(name):
    config: Config = CONFIGS[name]
    assert config.data == Data(
        source="imagenet2012",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        flip=True,
        image_size=224,
        crop_area=(0.1, 1.0),
        crop_aspect=(0.8, 1.25),
        eval_resize=256,
    )
    assert (config.batch_size, config.model.batch_norm) == (256, 32)
    optim = config.optim
    assert (optim.optimizer, optim.momentum, optim.nesterov) == ("sgd", 0.9, False)
    assert (optim.label_smoothing, optim.ema, optim.accumulate) == (0.0, 0.0, 1)
    assert config.model.ddof is None and config.model.dtype is None


@pytest.mark.parametrize("name", RESNETS)
def test_resnets_decay_everything(name):
    optim = CONFIGS[name].optim
    assert (optim.weight_decay, optim.no_decay) == (1e-4, ())


@pytest.mark.parametrize("name", MOBILE)
def test_mobile_networks_spare_prm_depthwise_norms_and_biases(name):
    optim = CONFIGS[name].optim
    assert optim.weight_decay == 4e-5
    assert set(optim.no_decay) == {"prm", "depthwise", "norms", "biases"}


def rate(name, step):
    config = CONFIGS[name]
    schedule = make_schedule(config.optim, config.epochs, EPOCH, config.batch_size)
    return float(schedule(step))


@pytest.mark.parametrize("name", RESNETS)
@pytest.mark.parametrize("epoch", [0, 29, 30, 59, 60, 89, 90, 99])
@pytest.mark.parametrize("i", [0, EPOCH - 1])
def test_the_rate_of_resnets(name, epoch, i):
    want = 0.1 * 0.1 ** (epoch // 30)
    assert rate(name, epoch * EPOCH + i) == pytest.approx(want, rel=1e-5)
    assert CONFIGS[name].epochs == 100


@pytest.mark.parametrize("name", MOBILE)
@pytest.mark.parametrize("epoch", [0, 1, 4, 5, 6, 77, 148, 149])
@pytest.mark.parametrize("i", [0, 2501, EPOCH - 1])
def test_the_rate_of_mobile_networks(name, epoch, i):
    t = epoch + (i + 1) / EPOCH
    cosine = 0.1 / 2 * (1 + math.cos(math.pi * (t - 5) / 145))
    want = 0.1 * t / 5 if epoch < 5 else cosine
    assert rate(name, epoch * EPOCH + i) == pytest.approx(want, rel=1e-4, abs=1e-7)
    assert CONFIGS[name].epochs == 150
