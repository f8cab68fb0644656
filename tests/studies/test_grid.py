"""A study's trainings: which are missing, that they run, stop and go on."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studies import __main__ as program
from studies import commands, fashion_mnist, grid, results
from studies.case import Case, config_of, flags
from studies.run import ROOT, RunFailed
from train.validate import check_config

QUICK = {"data.source": "fake", "epochs": 1}
CASE = Case("quick", "modules", "configs/fashion_mnist/resnet14.py", QUICK)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Results and runs in a folder of their own."""
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr("studies.run.RUNS", str(tmp_path / "runs"))
    return tmp_path


def test_every_case_of_fashion_mnist_is_a_config_that_is_allowed():
    for case in fashion_mnist.cases().values():
        check_config(config_of(case))


def test_the_cases_cover_modules_similarities_components_heads_and_decay():
    cases = fashion_mnist.cases()
    families = dict.fromkeys(case.family for case in cases.values())
    assert list(families) == [
        "modules",
        "similarity",
        "components",
        "heads",
        "decay",
        "initial values",
    ]
    assert config_of(cases["prm 4 heads"]).model.groups == 4
    assert config_of(cases["sge"]).model.groups == config_of(cases["prm"]).model.groups


def test_the_cases_differ_from_prm_in_what_they_say_alone():
    cases = fashion_mnist.cases()
    ours = config_of(cases["prm"])
    for case in cases.values():
        if case.family != "modules" and case.changes:
            undone = {name: _of(ours, name) for name in case.changes}
            assert config_of(case, undone) == ours


def _of(config, name: str):
    for part in name.split("."):
        config = getattr(config, part)
    return config


def test_plain_and_prm_are_trained_alike():
    plain, prm = (config_of(fashion_mnist.cases()[n]) for n in ("plain", "prm"))
    assert plain.optim == prm.optim and plain.data == prm.data
    assert plain.epochs == prm.epochs


def test_the_command_line_says_the_changes():
    words = flags({"optim.peak_lr": 0.2, "optim.no_decay": ("norms", "prm")})
    assert words == ["--optim.peak-lr", "0.2", "--optim.no-decay", "norms", "prm"]


def test_a_plan_lists_what_has_no_result_seed_by_seed(folder):
    cases = {name: CASE._replace(name=name) for name in ("a", "b")}
    done = {"case": "a", "seed": 0, "train_seconds": 60.0, "processor": "another"}
    results.write("toy", done)
    todo = grid.plan("toy", cases, seeds=2)
    missing = [(case.name, seed) for case, seed in todo.missing]
    assert missing == [("b", 0), ("a", 1), ("b", 1)]
    assert todo.summary() == (
        "3 trainings to run, 3 epochs; 1 have run. None of this study was timed on "
        "this processor yet."
    )


def test_a_plan_says_what_it_will_cost_from_what_was_measured_here(folder):
    here = {"case": "a", "seed": 0, "train_seconds": 100.0}
    results.write("toy", here | {"processor": grid.processor()})
    cases = {name: CASE._replace(name=name) for name in ("a", "b")}
    assert "About 0:10:50 one after the other" in grid.plan("toy", cases, 3).summary()


def test_a_training_leaves_its_result_and_is_not_run_again(folder):
    todo = grid.plan("toy", {"quick": CASE}, 1)
    grid.fill("toy", todo.missing, jobs=1)
    (row,) = results.read("toy")
    assert row["case"] == "quick" and row["steps"] > 0
    assert 0 <= row["test_top1"] <= 100 and row["peak_megabytes"] > 100
    assert len(row["test_top1_by_epoch"]) == 1
    assert row["command"].startswith("python -m train fit configs/fashion_mnist/")
    assert grid.plan("toy", {"quick": CASE}, 1).missing == []


def test_a_training_starts_where_its_case_says_and_is_looked_at_when_it_ends(folder):
    config = "configs/fashion_mnist/prm_resnet14.py"
    case = Case("from 1", "initial values", config, QUICK, {"lam": 1.0})
    grid.fill("toy", [(case, 3)], jobs=1, postprocess="studies.probabilities")
    (row,) = results.read("toy")
    assert "weights: " in (folder / "runs/toy/from_1-seed3.log").read_text()
    assert len(row["scores"]) == len(row["labels"]) > 100


def test_a_failed_training_ends_the_grid_with_its_command_and_log(folder):
    bad = CASE._replace(changes={**QUICK, "model.name": "resnet15"})
    with pytest.raises(RunFailed, match="code 2 of python -m train fit") as caught:
        grid.fill("toy", [(bad, 0)], jobs=1)
    log = Path(str(caught.value).rpartition("see ")[2])
    assert "resnet14" in log.read_text()  # the nearest right name
    assert results.read("toy") == []


def test_more_trainings_at_a_time_than_cores_are_refused(folder):
    with pytest.raises(ValueError, match="--jobs must be from 1"):
        grid.fill("toy", [], jobs=10_000)


def test_sigterm_stops_the_running_training_which_saves_itself(folder):
    script = (
        "import signal, sys; from pathlib import Path\n"
        "from studies import results, grid, run\n"
        "from studies.case import Case\n"
        f"results.FOLDER = Path({str(folder)!r}, 'results')\n"
        f"run.RUNS = {str(folder / 'runs')!r}\n"
        "signal.signal(signal.SIGTERM, lambda n, _: sys.exit(128 + n))\n"
        f"changes = {QUICK | {'epochs': 1000}}\n"
        f"long = Case('quick', 'modules', {CASE.config!r}, changes)\n"
        "grid.fill('toy', [(long, 0)], 1)\n"
    )
    study = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    log = folder / "runs" / "toy" / "quick-seed0.log"
    while not (log.exists() and "epoch" in log.read_text()):
        assert study.poll() is None
        time.sleep(0.2)
    study.send_signal(signal.SIGTERM)
    assert study.wait() == 128 + signal.SIGTERM
    assert "saved. Run it again to go on." in log.read_text()


def test_a_damaged_result_is_named(folder):
    file = results.path("toy", "quick", 0)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"seed": 0}))
    with pytest.raises(ValueError, match=r"seed0\.json must be a run's result"):
        results.read("toy")


def test_an_unknown_case_is_refused_with_those_there_are(capsys):
    assert program.main(["fit", "fashion_mnist", "--only", "cbma", "--dry"]) == 2
    assert "cbam" in capsys.readouterr().err


def test_the_program_says_first_what_there_is_to_do(folder, capsys):
    assert program.main(["fit", "fashion_mnist", "--dry", "--seeds", "1"]) == 0
    count = len(fashion_mnist.cases())
    assert capsys.readouterr().out.startswith(f"{count} trainings to run, ")


def test_the_program_ends_with_the_table(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(commands, "fill", lambda *what: ran.append(what))
    assert program.main(["fit", "fashion_mnist", "--only", "modules"]) == 0
    assert [study for study, *_ in ran] == ["fashion_mnist"]
    _, printed = capsys.readouterr().out.split("\n", 1)
    assert printed == commands.table_of("fashion_mnist") + "\n"
