"""The table of the study of solar cells, from scores that are made up."""

import numpy as np

from studies.case import config_of
from studies.solar_cells import PAIRS, cases, show
from train.validate import check_config

ORIGIN = {
    "date": "2026-01-01",
    "versions": {"jax": "1", "flax": "2", "optax": "3"},
    "processor": "a processor",
    "train_seconds": 1800.0,
}
LABELS = (np.arange(150) % 3 // 2).tolist()


def row(case: str, seed: int, noise: float) -> dict:
    random = np.random.default_rng(seed)
    scores = np.clip(np.array(LABELS) + noise * random.normal(size=150), 0, 1)
    return {
        "case": case,
        "seed": seed,
        "parameters": 11_000_000,
        "scores": scores.tolist(),
        "labels": LABELS,
        **ORIGIN,
    }


def cells(rows: list[dict], first: str) -> list[str]:
    text = show(rows, {}, draws=100)
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return next(line for line in lines if line[0] == first)


def test_every_network_with_prm_has_its_plain_one():
    assert set(cases()) == set(PAIRS) | set(PAIRS.values())
    for case in cases().values():
        check_config(config_of(case))


def test_pairs_are_trained_alike():
    for ours, plain in PAIRS.items():
        one, other = config_of(cases()[ours]), config_of(cases()[plain])
        assert one.optim == other.optim and one.data == other.data
        assert one.epochs == other.epochs


def test_a_network_has_its_scores_and_its_mistakes():
    found = cells([row("resnet18", seed, 0.01) for seed in range(2)], "resnet18")
    assert found[1:4] == ["11,000,000", "2", "1.000 (1.000 to 1.000)"]
    assert found[-4:] == ["100 / 0", "0 / 50", "0.0", "0.0"]


def test_the_difference_is_of_the_means_of_both_networks_runs():
    rows = [row("resnet18", seed, 3.0) for seed in range(3)]
    rows += [row("prm_resnet18", seed, 0.01) for seed in range(2)]
    text = show(rows, {}, draws=100)
    line = next(t for t in text.splitlines()[::-1] if t.startswith("| prm_resnet18 |"))
    low = float(line.split("(")[1].split(" to ")[0])
    assert low > 0


def test_it_says_where_the_runs_come_from():
    text = show([row("resnet18", seed, 0.01) for seed in range(2)], {}, draws=100)
    *_, said = text.split("\n\n")
    assert said.replace("\n", " ").endswith(
        " 2 runs of `python -m studies fit solar_cells`: 1.0 hours of training, "
        "2026-01-01, jax 1, flax 2, optax 3, on a processor."
    )


def test_what_has_not_run_is_a_dash():
    assert cells([], "mobilenet_v2") == ["mobilenet_v2", "–", "0", *["–"] * 6]
