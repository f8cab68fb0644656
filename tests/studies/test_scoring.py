"""Scores of runs with intervals, on probabilities that are made up."""

from pathlib import Path

import numpy as np
import pytest

from studies import __main__ as program
from studies import scoring
from studies.probabilities import Predictions
from studies.scoring import score_table

LABELS = np.arange(300) % 3 // 2  # a third is defective


def predictions(noise: float, seed: int, labels=LABELS) -> Predictions:
    random = np.random.default_rng(seed)
    scores = np.clip(labels + noise * random.normal(size=len(labels)), 0, 1)
    return Predictions(
        np.stack([1 - scores, scores], 1), labels, ("functional", "defective")
    )


RUNS = {
    "good": predictions(0.1, 0),
    "good2": predictions(0.1, 1),
    "bad": predictions(2.0, 2),
    "bad2": predictions(2.0, 3),
    "other": predictions(0.1, 4, LABELS[::-1]),
    "many": Predictions(np.full((3, 3), 1 / 3), np.arange(3), ("a", "b", "c")),
}


@pytest.fixture(autouse=True)
def runs(monkeypatch):
    monkeypatch.setattr(scoring, "predictions_of_run", lambda run: RUNS[run.name])


def paths(*names: str) -> list[Path]:
    return [Path("runs", name) for name in names]


def test_a_run_has_its_scores_with_intervals_and_its_mistakes():
    text = score_table(paths("good"), [], draws=200)
    assert "Intervals cover other test images." in text
    assert (
        "| good | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) | 0 / 100 / 0 |"
        in text
    )


def test_two_networks_differ_by_the_mean_of_their_runs():
    text = score_table(paths("good", "good2"), paths("bad", "bad2"), draws=200)
    assert (
        "The first 2 less the other 2; covers other test images and trainings." in text
    )
    low, high = text.splitlines()[-1].split("(")[1].split(")")[0].split(" to ")
    assert 0 < float(low) < float(high) < 1


def test_one_run_of_each_covers_test_images_alone():
    text = score_table(paths("good"), paths("bad"), draws=50)
    assert "The first 1 less the other 1; covers other test images." in text


def test_runs_of_other_images_are_not_compared():
    with pytest.raises(ValueError, match="must have the same test images"):
        score_table(paths("good"), paths("other"), draws=10)


def test_a_run_of_three_classes_is_refused():
    with pytest.raises(ValueError, match=r"AUC is of two classes: runs/many .* on 3"):
        score_table(paths("many"), [])


def test_the_command_prints_the_scores(capsys):
    assert program.main(["score", "runs/good", "--against", "runs/bad"]) == 0
    assert "difference" in capsys.readouterr().out
