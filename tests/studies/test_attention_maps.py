"""Where a run's query points are is asked of the images that it was tested on."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath
from support.run import REPO, TINY

from prm_flax.figures import maps
from prm_flax.interop import safetensors
from studies import attention_maps as module
from studies.attention_maps import AttentionScores, attention_scores, markdown_table
from train.cli import load_config
from train.config import Model
from train.experiment import build
from train.workdir.same_config import write_config


def started(folder, name):
    """A run's folder with the weights a run starts with; what is needed to ask it."""
    config = dataclasses.replace(
        load_config(REPO / TINY), model=Model(name=name), workdir=str(folder)
    )
    experiment = build(config)
    variables = jax.device_get(experiment.init().variables)
    write_config(epath.Path(folder), experiment.config)
    file = folder / "model.safetensors"
    safetensors.save(
        file, name, experiment.task.network(variables={}).options, variables
    )
    return experiment, variables


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, *started(folder, "prm_resnet14")


@pytest.fixture(scope="module")
def found(run):
    return attention_scores(run[0])


def test_every_test_image_is_asked_at_every_stage(run, found):
    assert found.class_names == run[1].input.class_names
    assert list(found.scores) == ["stage1", "stage2", "stage3"]
    assert found.labels.shape == (200,)
    for scores in found.scores.values():
        assert scores.shape == (200, 3)
        assert (0 < scores[:, 1]).all() and (scores[:, 1] < 1).all()


def test_the_rank_is_the_mean_over_the_heads_of_the_points_own(run, found):
    _, experiment, variables = run
    batch = next(iter(experiment.input.test()))
    pixels = batch["image"][:1] / 255
    data = experiment.config.data
    images = np.float32((pixels - np.array(data.mean)) / np.array(data.std))
    points = maps.stage_queries(experiment.model, variables, images)["stage1"][0]
    dark = 1 - pixels[0, ..., 0]
    below = [(dark < dark[r, c]).mean() + (dark == dark[r, c]).mean() / 2
             for r, c in points.astype(int)]  # fmt: skip
    assert found.scores["stage1"][0, 1] == pytest.approx(np.mean(below))


def test_the_table_has_a_line_for_each_class_and_stage(run):
    text = markdown_table([run[0]], draws=20)
    lines = [line for line in text.splitlines() if line.startswith(f"| {run[0].name}")]
    assert len(lines) == 10 * 3
    assert "By chance a rank is 0.5" in text


def test_a_network_without_prm_is_refused(tmp_path):
    started(tmp_path, "resnet14")
    with pytest.raises(ValueError, match="has no PRM"):
        attention_scores(tmp_path)


def test_names_are_no_markup_in_the_table(monkeypatch):
    scores = {"stage1": np.full((1, 3), 0.5)}
    found = AttentionScores(np.zeros(1, int), ("a|b*c", "caf\udce9"), scores)
    monkeypatch.setattr(module, "attention_scores", lambda run: found)
    table = markdown_table([Path("runs/<b>")], draws=2)
    one, two = (line for line in table.splitlines() if line.startswith("| `<b>` |"))
    assert "| `a\\|b*c` |" in one and "| `caf\\xe9` |" in two
