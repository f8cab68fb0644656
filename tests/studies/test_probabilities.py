"""What a finished run's folder says of its test images is what the program says."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from etils import epath
from support.run import REPO, TINY

from prm_flax.interop import safetensors
from studies.probabilities import config_of, predictions_of_run
from train import sharding
from train.cli import load_config
from train.config import Config, Data, Init
from train.evaluate import evaluate
from train.experiment import build
from train.workdir.same_config import write_config

CONFIG = load_config(REPO / TINY)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with the weights a run starts with; the experiment, its state."""
    folder = tmp_path_factory.mktemp("run")
    experiment = build(dataclasses.replace(CONFIG, workdir=str(folder)))
    state = experiment.init()
    write_config(epath.Path(folder), experiment.config)
    name, options = CONFIG.model.name, experiment.task.network(variables={}).options
    variables = jax.device_get(state.variables)
    safetensors.save(folder / "model.safetensors", name, options, variables)
    return folder, experiment, state


def test_every_test_image_has_its_label_and_its_probabilities(run):
    folder, experiment, _ = run
    found = predictions_of_run(folder)
    batches = list(experiment.input.test())
    mask = np.concatenate([b["mask"] for b in batches]) > 0
    labels = np.concatenate([b["label"] for b in batches])
    assert not mask.all()  # 200 images fill two batches of 80 and half of a third
    np.testing.assert_array_equal(found.labels, labels[mask])
    assert found.probabilities.shape == (200, 10)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-12)
    assert found.class_names == experiment.input.class_names


def test_they_make_the_loss_and_the_accuracy_that_evaluation_says(run):
    folder, experiment, state = run
    put = lambda batch: sharding.put_batch(experiment.mesh, batch)  # noqa: E731
    batches, evaluator = experiment.input.test(), experiment.task.evaluator()
    said = evaluate(state, batches, put, experiment.eval_step, evaluator)
    p, labels, _ = predictions_of_run(folder)
    assert 100 * (p.argmax(axis=1) == labels).mean() == pytest.approx(said["top1"])
    loss = -np.log(p[np.arange(len(p)), labels]).mean()
    assert loss == pytest.approx(said["loss"], rel=1e-5)


def test_the_average_is_asked_for_by_its_kind(run):
    with pytest.raises(ValueError, match=r"model_ema\.safetensors is not there"):
        predictions_of_run(run[0], "ema")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not there"):
        predictions_of_run(tmp_path)


def test_a_config_comes_back_whole_from_its_file(run):
    folder, experiment, _ = run
    flat = json.loads((folder / "config.json").read_text())
    assert config_of(flat) == experiment.config


def test_every_kind_of_field_comes_back(tmp_path):
    given = Config(
        "cells",
        data=Data("solar_cells", mean=(0.1, 0.2, 0.3), crop_area=(0.7, 1.0)),
        init=Init("weights.pth", ("prm", "fc")),
        profile=3,
    )
    write_config(epath.Path(tmp_path), given)
    assert config_of(json.loads((tmp_path / "config.json").read_text())) == given


def test_a_field_that_came_later_has_its_default():
    assert config_of({"name": "old", "data.flip": True}) == Config(
        "old", data=Data(flip=True)
    )


def test_a_field_of_another_version_is_named():
    with pytest.raises(ValueError, match=r"not the program's: model\.magic"):
        config_of({"name": "new", "model.magic": 3})
