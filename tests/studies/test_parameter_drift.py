"""How far PRM's parameters moved is measured from where the run started."""

import dataclasses

import jax
import numpy as np
import pytest
from etils import epath
from support import networks
from support.run import REPO, TINY

from prm_flax.interop import safetensors
from studies.parameter_drift import drift, markdown_table
from train.cli import load_config
from train.config import Model
from train.experiment import build
from train.workdir.same_config import write_config


def experiment_in(folder, name):
    """The run tiny.py of a network, its folder claimed."""
    tiny = load_config(REPO / TINY)
    config = dataclasses.replace(tiny, model=Model(name=name), workdir=str(folder))
    experiment = build(config)
    write_config(epath.Path(folder), experiment.config)
    return experiment


def leave(folder, experiment, variables):
    """The weights at the end, as a run leaves them."""
    name, options = (
        experiment.config.model.name,
        experiment.task.network(variables={}).options,
    )
    safetensors.save(folder / "model.safetensors", name, options, variables)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder; its weights are the first ones, but all θ are 3 more."""
    folder = tmp_path_factory.mktemp("run")
    experiment = experiment_in(folder, "prm_resnet14")
    first = jax.device_get(experiment.init().variables)
    last = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 3 * (path[-1].key == "theta"), first
    )
    leave(folder, experiment, last)
    return folder, last["params"]


def test_theta_alone_has_moved(run):
    folder, params = run
    found = drift(folder)
    assert len(found) == 6
    for place, numbers in found.items():
        mean, far = numbers.pop("theta")
        block, name = place.split("/")
        assert mean == pytest.approx(np.mean(params[block][name]["theta"]))
        assert far == pytest.approx(3, rel=1e-6)
        assert {far for _, far in numbers.values()} == {0.0}


def test_the_table_has_a_line_for_each_prm(run):
    lines = markdown_table([run[0]]).splitlines()
    assert lines[0].startswith("| run | PRM | alpha | beta | lam | xi | theta | d |")
    assert sum(line.startswith(f"| {run[0].name} |") for line in lines) == 6
    assert "(3.00)" in lines[2] and "+1.00 (0.00)" in lines[2]


def test_a_network_without_prm_is_refused(tmp_path):
    experiment = experiment_in(tmp_path, "resnet14")
    variables = networks.random_variables(experiment.model, (28, 28, 1))
    leave(tmp_path, experiment, jax.device_get(variables))
    with pytest.raises(ValueError, match="got ResNet without one: take a run of a prm"):
        drift(tmp_path)
