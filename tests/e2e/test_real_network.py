"""The public MobileNetV2 on twenty photos, alone and with PRMs put into it."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save as to_bytes
from support.run import REPO
from support.samples import FOLDER, WEIGHTS, needs_samples

from prm_flax.interop.timm import TABLE
from prm_flax.interop.torch import read_pth
from train.cli import load_config, main
from train.config import Init
from train.experiment import build
from train.initialization import first_state, read_init

pytestmark = needs_samples
PLAIN = "configs/imagenet/mobilenet_v2.py"
PRM = "configs/imagenet/prm_mobilenet_v2.py"
DOG = FOLDER / "imagenet_00_243.jpg"


def built(path, *new, file=WEIGHTS):
    """A config on the twenty photos, which starts from a file."""
    config = load_config(REPO / path)
    data = dataclasses.replace(config.data, source="imagenet_photos", workers=0)
    return build(dataclasses.replace(config, data=data, init=Init(str(file), new)))


def seen(path, *new):
    """Probabilities of the twenty photos, query points, labels."""
    e = built(path, *new)
    state = first_state(e, read_init(e))
    images, labels = e.input.sample(20)
    state = jax.device_get(state)
    logits = np.asarray(e.predict_step(state, {"image": images}))
    predict = functools.partial(e.predict_step, state)
    return logits, e.task.look(predict, state.variables, images)[1], labels


@pytest.fixture(scope="module")
def plain():
    return seen(PLAIN)


@pytest.fixture(scope="module")
def with_prm():
    return seen(PRM, "prm")


def test_of_twenty_photos_18_are_right_and_all_among_the_first_five(plain):
    logits, _, labels = plain
    first_five = np.argsort(-logits, -1)[:, :5]
    assert np.sum(first_five[:, 0] == labels) == 18
    assert np.sum(first_five == labels[:, None]) == 20


def test_with_prms_put_in_the_logits_are_unchanged_up_to_rounding(plain, with_prm):
    difference = np.abs(with_prm[0] - plain[0]).max()
    assert 0 < difference <= 2e-5 * np.std(plain[0])  # 4e-6 were measured


def test_only_the_network_with_prms_has_query_points(plain, with_prm):
    assert plain[1] == {}
    assert {points.shape for points in with_prm[1].values()} == {(20, 8, 2)}


def command(name, config, *flags):
    init = "--init", str(WEIGHTS)
    return main([name, str(REPO / config), *init, *map(str, flags)])


def test_predict_names_what_is_on_a_photo(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("PRM_DATA_DIR", raising=False)
    picture = tmp_path / "seen.png"
    workdir = "--workdir", tmp_path / "none"
    flags = "--predict.images", DOG, "--predict.output", picture
    assert command("predict", PLAIN, *workdir, *flags) == 0
    weights, dog, drawn = capsys.readouterr().out.splitlines()
    assert weights == f"weights: {WEIGHTS}"
    assert dog.startswith(f"{DOG}: bull mastiff 94.4 %, boxer ")
    assert dog.count(" %") == 5
    assert drawn == f"picture of 1: {picture}"
    with Image.open(picture) as opened:
        assert opened.format == "PNG"
    assert not (tmp_path / "none").exists()


def test_by_timm_s_names_in_safetensors_it_is_the_same_network(tmp_path):
    theirs = {ours: name for name, ours in TABLE.items()}
    named = {}
    for name, array in read_pth(WEIGHTS).items():
        module, _, leaf = name.rpartition(".")
        named[f"{theirs[module]}.{leaf}"] = array
    path = tmp_path / "mobilenetv2_100.safetensors"
    path.write_bytes(to_bytes(named, {"format": "pt"}))
    assert "blocks.6.0.conv_pwl.weight" in named and len(named) == 314
    given, again = (read_init(built(PLAIN, file=f)) for f in (WEIGHTS, path))
    assert given.keys() == again.keys() and len(given) == 262
    for leaf, array in given.items():
        np.testing.assert_array_equal(again[leaf], array)


def test_evaluate_counts_them(tmp_path, capsys):
    flags = "--data.source", "imagenet_photos", "--data.workers", "0"
    workdir = "--workdir", tmp_path / "none"
    assert command("evaluate", PLAIN, *workdir, *flags, "--eval-batch-size", "20") == 0
    said = capsys.readouterr().out
    assert "20 images" in said and "top-5 100.00 %" in said
    assert said.endswith("test top-1 90.00 %\n")


def test_what_is_no_image(tmp_path, capsys):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    for path in (text, tmp_path / "missing.jpg"):
        assert command("predict", PLAIN, "--predict.images", path) == 2
        assert f"images must be image files: {path}: " in capsys.readouterr().err


def test_what_the_network_lacks_is_named_with_the_fix(capsys):
    assert command("predict", PRM, "--predict.images", DOG) == 2
    error = capsys.readouterr().err
    assert "got weights of a network without PRM; 102 problems:" in error
    assert "missing: features.1.prm.theta, expected shape (1, 2, 1, 1)" in error
    assert "\n  and 97 more\n" in error
    assert error.endswith("To start these anew: --init.new prm.\n")
    assert command("predict", PLAIN, "--init.new", "prm") == 2
    assert "Take --model.name prm_mobilenet_v2" in capsys.readouterr().err
