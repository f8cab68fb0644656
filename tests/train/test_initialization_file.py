"""What `--init` takes: files of other programs, folders of runs, raw or averaged."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save as to_bytes
from support.run import REPO, TINY
from support.torch_file import torch_file
from support.weights import write_weights

from prm_flax import create_model
from prm_flax.interop import safetensors
from prm_flax.interop.shapes import flatten
from prm_flax.interop.torch import to_state_dict
from train import report
from train.cli import load_config
from train.config import Init
from train.experiment import build
from train.initialization import OF_RUN, read_init

OPTIONS = {"num_classes": 10, "stem": "3x3_stride2"}


@pytest.fixture(scope="module")
def experiment():
    """ResNet-14 for the images of tiny.py."""
    config = load_config(REPO / TINY)
    model = dataclasses.replace(config.model, name="resnet14", groups=None)
    return build(dataclasses.replace(config, model=model))


@pytest.fixture
def read(experiment):
    """Reads with the flags of init; path of a leaf -> its array."""

    def read(path, *new, weights="raw"):
        init = Init(str(path), new, weights)
        config = dataclasses.replace(experiment.config, init=init)
        return read_init(experiment._replace(config=config))

    return read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run that kept averages."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.json").write_text(json.dumps({"name": "mine"}))
    variables = write_weights(folder / "model.safetensors", "resnet14", 1, **OPTIONS)
    average = jax.tree.map(lambda leaf: leaf + 1, variables)
    path = folder / "model_ema.safetensors"
    safetensors.save(path, "resnet14", OPTIONS, average)
    return folder


@pytest.fixture(scope="module")
def raw(folder):
    return flatten(safetensors.load(folder / "model.safetensors")[1])


@pytest.fixture(scope="module")
def names(folder):
    """The raw weights by PyTorch's names."""
    _, variables = safetensors.load(folder / "model.safetensors")
    return to_state_dict(create_model("resnet14", **OPTIONS), variables)


@pytest.fixture(scope="module")
def average(raw):
    return {path: leaf + 1 for path, leaf in raw.items()}


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for path, leaf in wanted.items():
        np.testing.assert_array_equal(found[path], leaf)


def test_a_run_s_files_are_those_that_a_report_writes():
    assert list(OF_RUN.values()) == list(report.WEIGHTS.values())


def test_a_run_s_folder_says_which_of_its_weights_are_read(
    read, folder, raw, average, capsys
):
    assert_same(read(folder), raw)
    assert capsys.readouterr().out == (
        f"{folder}: the raw weights (model.safetensors) are read, not the averaged "
        "ones (model_ema.safetensors); --init.weights average takes those\n"
    )
    assert_same(read(folder, weights="average"), average)
    assert capsys.readouterr().out == (
        f"{folder}: the averaged weights (model_ema.safetensors) are read, not the raw "
        "ones (model.safetensors); --init.weights raw takes those\n"
    )


def test_a_folder_of_one_kind_says_nothing(read, folder, raw, tmp_path, capsys):
    """Such as what `export` writes, which has no config.json either."""
    content = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content)
    assert_same(read(tmp_path), raw)
    assert capsys.readouterr().out == ""
    with pytest.raises(FileNotFoundError, match=r"kept no average.*Take --init\.wei"):
        read(tmp_path, weights="average")


def test_a_run_that_has_not_finished(read, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"init.file must be the folder of a run that has finished: {tmp_path} has no "
        "model.safetensors yet. Let its fit go on to the end; or write what is saved, "
        f"python -m train export CONFIG --workdir {tmp_path}, and take --init "
        f"{tmp_path}/export."
    )


def test_a_folder_that_is_no_run_s(read, tmp_path):
    words = r"has neither config\.json nor model\.safetensors\. Is the path right\?"
    with pytest.raises(FileNotFoundError, match=words):
        read(tmp_path)


def test_what_is_not_there(read, tmp_path):
    words = r"a run's folder or a file of weights.*none is not there"
    with pytest.raises(FileNotFoundError, match=words):
        read(tmp_path / "none")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
def test_safetensors_of_other_programs_go_by_pytorch_s_names(
    read, names, raw, tmp_path, metadata, prefix
):
    path = tmp_path / "theirs.safetensors"
    theirs = {prefix + name: array for name, array in names.items()}
    path.write_bytes(to_bytes(theirs, metadata))
    assert_same(read(path), raw)


def test_a_file_that_has_both_kinds_says_which_is_read(
    read, names, raw, average, tmp_path, capsys
):
    path = tmp_path / "both.pth"
    averaged = {f"module.{name}": array + 1 for name, array in names.items()}
    path.write_bytes(torch_file({"model": names, "model_ema": averaged, "epoch": 3}))
    assert_same(read(path), raw)
    assert capsys.readouterr().out == (
        f"{path}: the raw weights (model) are read, not the averaged ones "
        "(model_ema); --init.weights average takes those\n"
    )
    assert_same(read(path, weights="average"), average)
    assert "the averaged weights (model_ema) are read" in capsys.readouterr().out


def test_a_file_that_has_no_average(read, folder, names, tmp_path):
    path = tmp_path / "raw.pth"
    path.write_bytes(torch_file(names))
    with pytest.raises(ValueError, match=r"raw\.pth cannot be read: it has but raw we"):
        read(path, weights="average")
    words = r"model_ema\.safetensors has one kind of weights alone. Take --init\.wei"
    with pytest.raises(ValueError, match=words):
        read(folder / "model_ema.safetensors", weights="average")


def test_the_error_names_the_kind_and_keeps_all(read, names, tmp_path):
    path = tmp_path / "timm.safetensors"
    path.write_bytes(to_bytes({f"net.{name}": a for name, a in names.items()}))
    with pytest.raises(ValueError) as caught:
        read(path)
    head, *lines, advice = str(caught.value).splitlines()
    kind = "other names altogether (the first is 'net.bn1.bias')"
    assert head == f"{path} must fit resnet14, got weights of {kind}; 154 problems:"
    assert len(lines) == 6 and lines[-1] == "  and 149 more"
    assert advice.startswith("Is the file one of this network?")
    assert len(caught.value.problems) == 154
