"""A run that could not save its work does not begin to work."""

import jax
import numpy as np
import pytest
from support.run import REPO, TINY, files_no_larger_than, records

from train import fit as fitting
from train import sharding
from train.cli import main
from train.loop import Clock, Loop

COMMAND = ["fit", str(REPO / TINY), "--workdir"]


@pytest.fixture
def no_training(monkeypatch):
    """A first state of noise, and no step."""

    def noise(leaf):
        bits = np.random.default_rng(0).bytes(leaf.size * leaf.dtype.itemsize)
        return np.frombuffer(bits, leaf.dtype).reshape(leaf.shape)

    def start(experiment, *_):
        state = jax.tree.map(noise, experiment.abstract_state)
        state = state.replace(step=np.int32(0), bad_step=np.int32(0))
        return sharding.put_state(experiment.mesh, state), Clock()

    def run(*_):
        raise FloatingPointError("the first step")

    monkeypatch.setattr(fitting, "_start", start)
    monkeypatch.setattr(Loop, "run", run)


@pytest.mark.usefixtures("no_training")
def test_what_cannot_be_saved_is_an_error_before_the_first_step(
    tmp_path, capsys, monkeypatch
):
    # Which writes a megabyte, and would refuse such a disk itself.
    monkeypatch.setattr(fitting, "prepare_workdir", lambda folder: None)
    with files_no_larger_than(100_000):
        code = main([*COMMAND, str(tmp_path)])
    said = capsys.readouterr().err
    assert code == 1
    assert "step 0 could not be saved" in said and "Make room" in said
    assert "nothing was trained" in said and records(tmp_path) == []
    assert not list((tmp_path / "checkpoints").glob("*/manifest.json"))


@pytest.mark.usefixtures("no_training")
def test_the_first_step_comes_after_the_first_save(tmp_path, capsys):
    assert main([*COMMAND, str(tmp_path)]) == 1
    assert "the first step" in capsys.readouterr().err
    assert (tmp_path / "checkpoints/0/manifest.json").is_file()
