"""Every rule refuses what it must, by name, with what is allowed."""

import dataclasses
import math

import jax
import pytest

from train.check import (
    RULES,
    check_batches,
    check_channels,
    check_classes,
    check_config,
    check_dtype,
    check_known,
)
from train.config import Config, Data, Model, Optim

NAN, INF = math.nan, math.inf
CONFIG = Config(name="run")

# Field -> values its rule refuses, values it allows.
VALUES = {
    "name": (["", "a/b", ".", ".."], ["a", "a.b", "prm resnet"]),
    "epochs": ([0, -1], [1]),
    "batch_size": ([0, -1], [1]),
    "eval_batch_size": ([0, -1], [1]),
    "seed": ([-1, 2**31], [0, 2**31 - 1]),
    "data.std": ([(), (0.0,), (-1.0,), (0.5, NAN), (INF,)], [(0.5,), (1, 2, 3)]),
    "data.mean": ([(), (NAN,), (0.5, -INF)], [(0.0,), (-1, 2, 3)]),
    "data.crop_padding": ([-1], [0, 4]),
    "data.prefetch": ([0], [1]),
    "optim.peak_lr": ([-0.1, NAN, INF], [0.0, 0.1]),
    "optim.warmup_epochs": ([-1.0, NAN, INF], [0.0, 0.5]),
    "optim.step_epochs": ([0, -30], [1]),
    "optim.step_factor": ([-0.1, NAN, INF], [0.0, 0.1]),
    "optim.momentum": ([-0.1, 1.0, NAN], [0.0, 0.99]),
    "optim.weight_decay": ([-1e-4, NAN, INF], [0.0, 1e-4]),
    "optim.label_smoothing": ([-0.1, 1.0, NAN], [0.0, 0.1]),
    "checkpoint.every_steps": ([0, -1], [1]),
    "checkpoint.keep": ([0, -1], [1]),
    "log.every_steps": ([0, -1], [1]),
}
REFUSED = [(path, value) for path, (bad, _) in VALUES.items() for value in bad]
ALLOWED = [(path, value) for path, (_, good) in VALUES.items() for value in good]


def changed(path, value, config=CONFIG):
    part, _, field = path.rpartition(".")
    if not part:
        return dataclasses.replace(config, **{field: value})
    inner = dataclasses.replace(getattr(config, part), **{field: value})
    return dataclasses.replace(config, **{part: inner})


def test_the_table_has_every_rule():
    assert VALUES.keys() == RULES.keys()


@pytest.mark.parametrize("path, value", REFUSED)
def test_refused(path, value):
    with pytest.raises(ValueError) as caught:
        check_config(changed(path, value))
    allowed = RULES[path][1]
    assert f"{path} must be {allowed}, got {value!r}" in str(caught.value)


@pytest.mark.parametrize("path, value", ALLOWED)
def test_allowed(path, value):
    check_config(changed(path, value))


def test_all_faults_are_named_at_once():
    with pytest.raises(ValueError, match=r"epochs must be .*; optim\.momentum must be"):
        check_config(changed("optim.momentum", 2.0, changed("epochs", 0)))


def test_warmup_fits_into_the_run():
    config = Config(name="run", epochs=3, optim=Optim(warmup_epochs=3))
    check_config(config)
    with pytest.raises(ValueError, match=r"warmup_epochs must not exceed .* 3 and 2"):
        check_config(dataclasses.replace(config, epochs=2))


@pytest.mark.parametrize("field", ["batch_size", "eval_batch_size"])
def test_batches_divide_among_the_devices(field):
    good = Config(name="run", batch_size=64, eval_batch_size=64)
    check_batches(good, devices=8, images=1000)
    config = changed(field, 30, good)
    with pytest.raises(ValueError, match=rf"^{field} must .* 30 .*next is 32\."):
        check_batches(config, devices=8, images=1000)


def test_a_batch_is_not_larger_than_the_set():
    check_batches(CONFIG, devices=1, images=CONFIG.batch_size)
    with pytest.raises(ValueError, match=r"must not exceed .*: 256, 255 images"):
        check_batches(CONFIG, devices=1, images=CONFIG.batch_size - 1)


@pytest.mark.parametrize("run", [3, 512, 0, -1])
def test_a_batch_is_a_multiple_of_a_statistics_images(run):
    with pytest.raises(ValueError, match=rf"model\.batch_norm.*256 and {run}\."):
        check_batches(changed("model.batch_norm", run), devices=1, images=1000)


@pytest.mark.parametrize("run", ["global", 1, 32, 256])
def test_a_batch_of_whole_statistics(run):
    check_batches(changed("model.batch_norm", run), devices=1, images=1000)


def test_the_classes_are_the_datas():
    for asked in (None, 10):
        check_classes(Config(name="run", model=Model(num_classes=asked)), 10)
    with pytest.raises(ValueError, match="is 11, but fashion_mnist has 10 classes"):
        check_classes(Config(name="run", model=Model(num_classes=11)), 10)


@pytest.mark.parametrize("field", ["mean", "std"])
def test_mean_and_std_are_one_or_one_a_channel(field):
    for given in ((0.5,), (0.5, 0.4, 0.3)):
        check_channels(Config(name="run", data=Data(**{field: given})), 3)
    with pytest.raises(ValueError, match=rf"data\.{field} must be .*2 numbers, 3 chan"):
        check_channels(Config(name="run", data=Data(**{field: (0.5, 0.4)})), 3)


def test_an_unknown_name_gets_the_nearest():
    check_known("source", "fake", ["fake", "idx"])
    with pytest.raises(ValueError, match="Did you mean 'fake'"):
        check_known("source", "fakes", ["fake", "idx"])


def test_float64_is_refused_where_it_would_be_float32():
    with pytest.raises(ValueError, match="JAX_ENABLE_X64"):
        check_dtype("float64")
    with jax.enable_x64(True):
        check_dtype("float64")
    check_dtype("bfloat16")
