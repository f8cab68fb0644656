"""Student's intervals over seeds."""

import math

import numpy as np
import pytest

from studies.intervals import deviation, mean_interval, paired


def test_the_interval_is_that_of_the_tables():
    # t of 2 degrees of freedom at 97.5 %: 4.303.
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.high - 2 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert 2 - found.low == pytest.approx(found.high - 2)


def test_one_value_says_nothing_of_its_spread():
    assert mean_interval([5.0]) == (5.0, -math.inf, math.inf)
    assert math.isnan(deviation([5.0]))


def test_nineteen_of_twenty_intervals_cover_the_true_mean():
    random = np.random.default_rng(0)
    samples = random.normal(3.0, 2.0, (2000, 4))
    covered = [low <= 3.0 <= high for _, low, high in map(mean_interval, samples)]
    assert 0.93 < np.mean(covered) < 0.97


def test_runs_are_paired_by_seed_and_other_seeds_are_left_out():
    found = paired({0: 2.0, 1: 4.0, 7: 100.0}, {1: 1.0, 0: 1.0, 3: 50.0})
    assert found is not None and found.value == 2.0
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_what_is_common_to_a_seed_does_not_widen_the_difference():
    ours, theirs = {0: 90.5, 1: 80.5, 2: 70.5}, {0: 90.0, 1: 80.0, 2: 70.0}
    assert paired(ours, theirs) == (0.5, 0.5, 0.5)
