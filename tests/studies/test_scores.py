"""AUC, accuracy and the table of confusions, by hand and by their laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from studies.scores import accuracy, auc, confusion


@st.composite
def cases(draw):
    """Scores with ties of both classes."""
    n = draw(st.integers(2, 40))
    scores = draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))
    return np.array(scores, float), np.array([0, 1, *labels])


def pairs(scores, labels):
    """AUC by its definition."""
    up, down = scores[labels == 1, None], scores[None, labels == 0]
    return ((up > down) + (up == down) / 2).mean()


@pytest.mark.parametrize(
    "scores, labels, value",
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 0.0),
        ([7, 7, 7], [0, 1, 0], 0.5),
        # Of four pairs: 3 > 1 and 3 > 2 are right, 2 > 1 is, 2 = 2 is half.
        ([1, 2, 2, 3], [0, 0, 1, 1], 3.5 / 4),
        # Of six pairs two are wrong: 0.5 against 0.7 and 0.6.
        ([0.7, 0.6, 0.5, 0.9], [0, 0, 1, 1], 2 / 4),
    ],
)
def test_auc_is_the_share_of_pairs_in_order(scores, labels, value):
    assert auc(np.array(scores), np.array(labels)) == value


@given(cases())
def test_auc_is_its_definition(case):
    assert auc(*case) == pytest.approx(pairs(*case), abs=1e-12)


@given(cases())
def test_auc_is_mann_and_whitney_s_u_over_the_pairs(case):
    scores, labels = case
    up, down = scores[labels == 1], scores[labels == 0]
    u = stats.mannwhitneyu(up, down, method="asymptotic").statistic
    assert auc(scores, labels) == pytest.approx(u / (len(up) * len(down)), abs=1e-12)


@given(cases())
def test_a_rising_function_of_the_scores_leaves_auc(case):
    scores, labels = case
    assert auc(np.exp(scores) + 3 * scores, labels) == auc(scores, labels)


@given(cases())
def test_swapped_classes_or_scores_turn_auc_round(case):
    scores, labels = case
    assert auc(scores, 1 - labels) == pytest.approx(1 - auc(scores, labels), abs=1e-12)
    assert auc(-scores, labels) == pytest.approx(1 - auc(scores, labels), abs=1e-12)


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(case, random):
    order = list(range(len(case[0])))
    random.shuffle(order)
    for score in (auc, accuracy):
        assert score(*(a[order] for a in case)) == pytest.approx(score(*case))


@given(cases())
def test_the_confusions_add_up(case):
    scores, labels = case
    table = confusion(scores, labels)
    assert table.sum(axis=1).tolist() == np.bincount(labels, minlength=2).tolist()
    assert table.trace() / table.sum() == pytest.approx(accuracy(scores, labels))


def test_confusions_by_hand():
    scores = np.array([0.9, 0.2, 0.5, 0.6, 0.4, 0.51])
    labels = np.array([1, 1, 1, 0, 0, 0])
    # One half is not above one half.
    assert confusion(scores, labels).tolist() == [[1, 2], [2, 1]]
    assert confusion(scores, labels, threshold=0.1).tolist() == [[0, 3], [0, 3]]
    assert accuracy(scores, labels) == 2 / 6


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_auc_of_one_class_is_refused(labels):
    with pytest.raises(ValueError, match="two classes: got"):
        auc(np.array([1.0, 2.0]), np.array(labels))


@pytest.mark.parametrize(
    "scores, labels, words",
    [
        ([1.0], [0, 1], "same images"),
        ([[1.0, 0.0]], [[0, 1]], "same images"),
        ([], [], "same images"),
        ([1.0, np.nan], [0, 1], "finite"),
        ([1.0, 0.0], [0, 2], "0 or 1"),
    ],
)
@pytest.mark.parametrize("score", [auc, accuracy, confusion])
def test_what_are_no_scores_is_refused(score, scores, labels, words):
    with pytest.raises(ValueError, match=words):
        score(np.array(scores), np.array(labels))
