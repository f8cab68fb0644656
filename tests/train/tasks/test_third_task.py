"""A task of one's own: a file, a config's class and a line in the table."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from support import regression
from support.regression import KIND, RegressionConfig

from train import cli, experiment
from train.config import BaseModel, Checkpoint, Log
from train.fit import fit
from train.predict import evaluate_run

CODE = Path(regression.__file__).read_text()
CONFIG_FILE = """
from support.regression import RegressionConfig
config = lambda: RegressionConfig("brightness")
"""


@pytest.fixture(autouse=True)
def table(monkeypatch):
    tasks = experiment.TASKS | {RegressionConfig: KIND}
    monkeypatch.setattr(experiment, "TASKS", tasks)


def config(workdir, **fields):
    given = {
        "name": "brightness",
        "model": BaseModel("mean"),
        "batch_size": 16,
        "eval_batch_size": 16,
        "epochs": 12,
        "checkpoint": Checkpoint(every_steps=3),
        "log": Log(every_steps=4),
        "workdir": str(workdir),
    }
    return RegressionConfig(**given | fields)


def records(workdir, kind):
    lines = map(json.loads, (workdir / "scalars.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def test_it_takes_a_small_file():
    assert len([line for line in CODE.splitlines() if line]) < 80


def test_it_trains_and_evaluates(tmp_path, capsys):
    assert fit(config(tmp_path)) == 0
    first, *_, last = records(tmp_path, "test")
    assert last["images"] == 16 and last["loss"] < first["loss"]
    assert last["r2"] > 0.5 > first["r2"]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["test_r2"] == round(last["r2"], 4)
    assert capsys.readouterr().out.splitlines()[-1] == f"test R² {last['r2']:.3f}"
    assert "| epoch | test loss | test R² |" in (tmp_path / "report.md").read_text()
    assert evaluate_run(config(tmp_path)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"test R² {last['r2']:.3f}"


@pytest.mark.parametrize("parallel", ["jit", "pmap"])
def test_it_resumes_to_the_same_bits(tmp_path, monkeypatch, parallel):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert fit(config(whole, parallel=parallel)) == 0

    def stopped(self, step):
        self.signal = 15 * (step == 7)
        return bool(self)

    with monkeypatch.context() as patched:
        patched.setattr("train.preemption.Stop.after", stopped)
        assert fit(config(parts, parallel=parallel)) == 143
    assert fit(config(parts, parallel=parallel)) == 0
    assert records(whole, "test") == records(parts, "test")
    one, other = ((w / "model.safetensors").read_bytes() for w in (whole, parts))
    assert one == other


def test_a_step_that_is_not_finite_is_explained(tmp_path):
    made = experiment.build(config(tmp_path))
    state = jax.device_get(made.init())
    state.params["kernel"] = np.full((16, 1), np.nan, np.float32)
    said = made.diagnose(state, next(made.input.train(0, 1)))
    assert said == "step 1: not finite before it: params/kernel"


def test_help_shows_its_fields_alone(tmp_path, capsys):
    file = tmp_path / "brightness.py"
    file.write_text(CONFIG_FILE)
    with pytest.raises(SystemExit):
        cli.main(["fit", str(file), "--help"])
    said = capsys.readouterr().out
    assert "--optim.peak-lr" in said
    for field in ("--data.mixup", "--optim.label-smoothing", "--model.groups"):
        assert field not in said


def test_a_config_of_no_task_is_refused():
    class Other(RegressionConfig.__base__):
        """A config that is in no table."""

    with pytest.raises(TypeError, match="Other has none"):
        experiment.kind_of(Other("x"))
