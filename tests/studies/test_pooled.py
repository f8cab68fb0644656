"""One interval from the scatter of all runs."""

import math

import numpy as np
import pytest

from studies.pooled import pooled, significant


def figures(values):
    """Of an array (cases, seeds); the first case is a."""
    return {
        name: dict(enumerate(map(float, row)))
        for name, row in zip("abcdefghij", values, strict=False)
    }


def test_by_hand():
    # Without the means of rows and columns: ±0.5 everywhere, one degree of freedom.
    found = pooled(figures([[1, 2], [3, 2]]), "a")
    assert found is not None and (found.cases, found.seeds) == (("a", "b"), (0, 1))
    assert found.freedom == 1 and found.deviation == pytest.approx(1.0)
    # t of one degree of freedom at 97.5 %: 12.706.
    assert found.half == pytest.approx(12.7062, rel=1e-4)


def test_what_case_and_seed_explain_is_no_scatter():
    cases, seeds = np.array([[90.0], [91.0], [95.0]]), np.array([0.0, 0.5, -0.2])
    found = pooled(figures(cases + seeds), "a")
    assert found is not None and found.half == pytest.approx(0, abs=1e-9)


def test_nineteen_of_twenty_intervals_cover_the_true_difference():
    random = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        noise = random.normal(0, 0.3, (6, 3)) + random.normal(0, 2, (1, 3))
        made = figures(noise + np.arange(6)[:, None])
        found = pooled(made, "a")
        assert found is not None
        difference = np.mean([*made["b"].values()]) - np.mean([*made["a"].values()])
        covered.append(abs(difference - 1) <= found.half)
    assert 0.935 < np.mean(covered) < 0.965


def test_a_case_without_one_of_the_seeds_is_left_out():
    made = figures([[1, 2, 3], [2, 2, 4], [0, 1, 1]])
    del made["b"][1]
    found = pooled(made, "a")
    assert found is not None and found.cases == ("a", "c")


def test_nothing_is_said_without_two_cases_and_two_seeds():
    assert pooled({}, "a") is None
    assert pooled(figures([[1, 2, 3]]), "a") is None
    assert pooled(figures([[1], [2]]), "a") is None


def test_cases_beyond_the_interval():
    made = figures([[1.0, 1.1], [1.1, 1.0], [9.0, 9.0]])
    found = pooled(made, "a")
    assert found is not None
    ((name, difference),) = significant(made, found, "a")
    assert name == "c" and math.isclose(difference, 7.95)
