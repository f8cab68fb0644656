"""Intervals hold what they say: in simulations, at their edges, of pairs."""

import numpy as np
import pytest

from studies.bootstrap import bootstrap, paired_bootstrap
from studies.scores import accuracy, auc

mean = np.mean


def test_the_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap(mean, values, draws=4000)
    half = 1.96 * values.std() / 20
    assert found.value == values.mean()
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    random = np.random.default_rng(1)
    held = 0
    for k in range(300):
        low, high = bootstrap(mean, random.random(60), draws=400, seed=k)[1:]
        held += low < 0.5 < high
    # 95 % of 300 are 285, less a little: percentiles of 60 values are narrow by 1 %.
    assert 268 <= held <= 296


def test_the_interval_of_an_auc_holds_the_truth():
    random = np.random.default_rng(2)
    labels = np.arange(120) % 2
    # Normal scores one standard deviation apart: Φ(1/√2).
    held = 0
    for k in range(100):
        scores = random.normal(labels, 1)
        low, high = bootstrap(auc, scores, labels, draws=200, seed=k)[1:]
        held += low < 0.7602 < high
    assert 86 <= held <= 100


def test_the_same_seed_gives_the_same_interval():
    values = np.arange(30.0)
    one, same, other = (bootstrap(mean, values, draws=50, seed=s) for s in (0, 0, 1))
    assert one == same != other


def test_a_wider_level_gives_a_wider_interval():
    values = np.arange(30.0)
    inner, outer = (bootstrap(mean, values, draws=500, level=p) for p in (0.5, 0.99))
    assert outer.low < inner.low < inner.high < outer.high


def test_arrays_are_drawn_together():
    x = np.arange(50.0)
    assert bootstrap(lambda a, b: float((a == b).all()), x, x, draws=20).low == 1


def test_a_draw_without_one_class_is_drawn_again():
    labels = np.array([1] + [0] * 9)
    scores = np.arange(10.0)
    found = bootstrap(auc, scores, labels, draws=200)
    assert found.value == 0 and 0 <= found.low <= found.high <= 1


def test_a_statistic_that_takes_no_draw_ends():
    asked = []

    def moody(values):
        asked.append(1)
        if len(asked) > 1:
            raise ValueError("not today")
        return 0.0

    with pytest.raises(ValueError, match="not today"):
        bootstrap(moody, np.arange(3), draws=5)


@pytest.mark.parametrize(
    "arrays, options, words",
    [
        ((np.arange(3), np.arange(4)), {}, r"got lengths \[3, 4\]"),
        ((np.arange(0),), {}, "each of the same images"),
        ((np.arange(3),), {"draws": 0}, "draws must be 1"),
        ((np.arange(3),), {"level": 1.0}, "level between 0 and 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arrays, options, words):
    with pytest.raises(ValueError, match=words):
        bootstrap(lambda *a: 0.0, *arrays, **options)


def runs(seed, shift=0.0, count=3, noise=0.5):
    """Labels; scores of runs that share what makes an image hard."""
    random = np.random.default_rng(seed)
    labels = np.arange(200) % 2
    hard = random.normal(0, 1, 200)
    scores = labels * (1 + shift) + hard + random.normal(0, noise, (count, 200))
    return scores, hard, labels


def test_two_equal_networks_do_not_differ():
    scores, _, labels = runs(0, count=1)
    found = paired_bootstrap(auc, scores, scores, labels, draws=50)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_value_is_the_difference_of_the_means_over_seeds():
    ours, theirs = runs(0, 0.5)[0], runs(1, count=2)[0]
    labels = np.arange(200) % 2
    found = paired_bootstrap(auc, ours, theirs, labels, draws=20)
    want = np.mean([auc(s, labels) for s in ours])
    want -= np.mean([auc(s, labels) for s in theirs])
    assert found.value == pytest.approx(want)
    turned = paired_bootstrap(auc, theirs, ours, labels, draws=20)
    assert turned.value == pytest.approx(-want)


def test_pairing_takes_out_what_is_hard_for_both():
    ours, hard, labels = runs(0, 0.3, count=1, noise=0.2)
    theirs = labels + hard + np.random.default_rng(9).normal(0, 0.2, 200)
    paired = paired_bootstrap(auc, ours, theirs, labels, draws=400)
    alone = bootstrap(auc, theirs, labels, draws=400)
    assert paired.high - paired.low < 0.6 * (alone.high - alone.low)


def test_drawn_runs_add_what_trainings_vary_by():
    labels = np.arange(400) % 2
    # Every run flips other images: runs vary, and by much.
    random = np.random.default_rng(4)
    ours = np.stack(
        [
            np.where(random.random(400) < p, 1 - labels, labels)
            for p in (0.05, 0.2, 0.35)
        ]
    )
    theirs = labels[None].repeat(3, axis=0)
    fixed, drawn = (
        paired_bootstrap(
            accuracy, ours, theirs, labels, draws=400, resample_seeds=choice
        )
        for choice in (False, True)
    )
    assert fixed.value == drawn.value
    assert drawn.high - drawn.low > 2 * (fixed.high - fixed.low)


def test_the_paired_interval_holds_no_difference_where_there_is_none():
    held = 0
    for k in range(60):
        scores, _, labels = runs(k, count=6)
        found = paired_bootstrap(auc, scores[:3], scores[3:], labels, draws=100, seed=k)
        held += found.low <= 0 <= found.high
    assert held >= 50


def test_runs_of_other_images_are_refused():
    scores, _, labels = runs(0)
    with pytest.raises(ValueError, match="got lengths"):
        paired_bootstrap(auc, scores[:, :9], scores, labels)
