"""Every rule refuses what it must, by name, with what is allowed."""

import dataclasses
import math

import jax
import pytest

from train.config import Config, Data, Init, Model, Optim
from train.experiment import check_options
from train.validate import (
    RULES,
    check_channels,
    check_classes,
    check_config,
    check_dtype,
    check_images,
    check_known,
)

NAN, INF = math.nan, math.inf
CONFIG = Config(name="run")

# Field -> values its rule refuses, values it allows.
VALUES = {
    "name": (["", "a/b", ".", ".."], ["a", "a.b", "prm resnet"]),
    "epochs": ([0, -1], [1]),
    "batch_size": ([0, -1], [1]),
    "eval_batch_size": ([0, -1], [1]),
    # Alone they may be None only: see test_meeting.py.
    "coordinator": (
        ["", "a", ":1", "a b:1", "a:", "a:0", "a:65536", "a:b", "http://a:1", "a::1:1"],
        [None],
    ),
    "processes": ([0, -1], [None]),
    "process_id": ([-1], [None]),
    "startup_seconds": ([0, -1], [1]),
    "heartbeat_seconds": ([0, -1], [1]),
    "profile": ([-1], [0, 20]),
    "seed": ([-1, 2**31], [0, 2**31 - 1]),
    "data.std": ([(), (0.0,), (-1.0,), (0.5, NAN), (INF,)], [(0.5,), (1, 2, 3)]),
    "data.mean": ([(), (NAN,), (0.5, -INF)], [(0.0,), (-1, 2, 3)]),
    "data.crop_padding": ([-1], [0, 4]),
    "data.image_size": ([0], [1, 224]),
    "data.crop_area": ([(0.0, 1.0), (0.5, 0.1), (0.1, 1.1), (NAN, 1.0)], [(1.0, 1.0)]),
    "data.crop_aspect": ([(0.0, 1.0), (2.0, 1.0), (1.0, INF)], [(0.75, 1.5)]),
    "data.eval_resize": ([0], [224, 300]),
    "data.randaugment": ([-1, 17], [0, 2]),
    "data.randaugment_magnitude": ([-1.0, 10.5, NAN], [0.0, 10.0]),
    "data.mixup": ([-0.1, NAN, INF], [0.0, 0.2]),
    "data.cutmix": ([-0.1, NAN, INF], [0.0, 1.0]),
    "data.max_image_bytes": ([0], [1]),
    "data.max_image_pixels": ([0], [1]),
    "data.workers": ([-1, 257], [None, 0, 8]),
    "data.prefetch": ([0], [1]),
    "optim.peak_lr": ([-0.1, NAN, INF], [0.0, 0.1]),
    "optim.lr_images": ([0, -256], [None, 256]),
    "optim.warmup_epochs": ([-1.0, NAN, INF], [0.0, 0.5]),
    "optim.step_epochs": ([0, -30], [1]),
    "optim.step_factor": ([-0.1, NAN, INF], [0.0, 0.1]),
    "optim.momentum": ([-0.1, 1.0, NAN], [0.0, 0.99]),
    "optim.weight_decay": ([-1e-4, NAN, INF], [0.0, 1e-4]),
    "optim.clip_norm": ([0.0, -1.0, NAN, INF], [None, 1.0]),
    "optim.accumulate": ([0, -2], [1, 4]),
    "optim.skip_bad_steps": ([-1], [0, 5]),
    "optim.ema": ([-0.1, 1.0, NAN], [0.0, 0.9999]),
    "optim.label_smoothing": ([-0.1, 1.0, NAN], [0.0, 0.1]),
    "checkpoint.every_steps": ([0, -1], [1]),
    "checkpoint.every_minutes": ([-1.0, NAN, INF], [0.0, 0.5]),
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


def test_the_centre_fits_into_the_resized_image():
    with pytest.raises(
        ValueError, match=r"eval_resize must be at least .* 256 and 288"
    ):
        check_config(changed("data.image_size", 288))


@pytest.mark.parametrize("field", ["batch_size", "eval_batch_size"])
def test_batches_divide_among_the_devices(field):
    good = Config(name="run", batch_size=64, eval_batch_size=64)
    check_options(good, devices=8)
    config = changed(field, 30, good)
    with pytest.raises(ValueError, match=rf"^{field} must .* 30 .*next is 32\."):
        check_options(config, devices=8)


def test_a_batch_is_not_larger_than_the_set():
    check_images(CONFIG, CONFIG.batch_size, 1)
    with pytest.raises(ValueError, match=r"must not exceed .*: 256, 255 images"):
        check_images(CONFIG, CONFIG.batch_size - 1, 0)


@pytest.mark.parametrize("run", [3, 512, 0, -1])
def test_a_batch_is_a_multiple_of_a_statistics_images(run):
    with pytest.raises(ValueError, match=rf"model\.batch_norm.*256 and {run}\."):
        check_options(changed("model.batch_norm", run), devices=1)


@pytest.mark.parametrize("run", ["global", 1, 32, 256])
def test_a_batch_of_whole_statistics(run):
    check_options(changed("model.batch_norm", run), devices=1)


@pytest.mark.parametrize("parts, devices", [(2, 4), (8, 1)])
def test_parts_hold_whole_statistics(parts, devices):
    config = changed("model.batch_norm", 32, changed("optim.accumulate", parts))
    check_options(config, devices)
    twice = changed("optim.accumulate", 2 * parts, config)
    with pytest.raises(ValueError, match=r"whole statistics: .* 32 images a statistic"):
        check_options(twice, devices)


def test_pmap_needs_statistics_that_lie_on_a_device():
    pmap = changed("parallel", "pmap")
    check_options(changed("model.batch_norm", 32, pmap), devices=8)
    with pytest.raises(ValueError, match=r"pmap needs .*32 images a device.*'global'"):
        check_options(pmap, devices=8)
    with pytest.raises(ValueError, match=r"pmap needs .*32 images a device.*got 64"):
        check_options(changed("model.batch_norm", 64, pmap), devices=8)


def test_parts_cannot_have_statistics_of_the_whole():
    with pytest.raises(ValueError, match=r"accumulate 4 needs .* at most 64 here"):
        check_options(changed("optim.accumulate", 4), devices=1)


@pytest.mark.parametrize("field", ["data.mixup", "data.cutmix"])
def test_mixing_pairs_the_images_of_a_device(field):
    check_options(changed(field, 0.2), devices=128)
    with pytest.raises(ValueError, match="even number of images, got 1"):
        check_options(changed(field, 0.2), devices=256)


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


def test_new_parts_need_a_file_for_the_others():
    check_config(Config(name="run", init=Init("a.pth", ("prm",))))
    with pytest.raises(
        ValueError, match=r"init\.new needs init\.file.* got prm and no"
    ):
        check_config(Config(name="run", init=Init(None, ("prm",))))


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
