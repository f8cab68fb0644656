"""Scores of a two-class network on test images, and how far they can be trusted."""

import numpy as np
from scipy import stats


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The area under the ROC curve: how well the scores order the two classes.

    AUC = P(s⁺ > s⁻) + P(s⁺ = s⁻) / 2 over all pairs of a positive and a negative; it
    is Mann and Whitney's U over the number of pairs.

    Args:
        scores: (n,), the higher the more likely positive.
        labels: (n,) of 0 and 1.

    Returns:
        From 0 to 1; 0.5 for scores that say nothing.

    Raises:
        ValueError: the arrays do not fit, or one class is missing.

    Example:
        >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]))
        0.875

    Reference: Hanley, McNeil, Radiology 143, 1982.
    """
    scores, positive = np.asarray(scores, float), _positive(scores, labels)
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        raise ValueError(
            f"AUC compares two classes: got {n} images labelled 1 and {m} labelled 0"
        )
    # Mann and Whitney's U. mannwhitneyu gives the same, and a p-value besides: a
    # bootstrap of 10,000 draws would take nine times as long.
    u = stats.rankdata(scores)[positive].sum() - n * (n + 1) / 2
    return float(u / (n * m))


def accuracy(scores: np.ndarray, labels: np.ndarray, threshold: float = 0.5) -> float:
    """The share of images that are on their class's side of a threshold.

    Args:
        scores: (n,); above the threshold is class 1.
        labels: (n,) of 0 and 1.
        threshold: one half for probabilities.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: the arrays do not fit.

    Example:
        >>> accuracy(np.array([0.1, 0.7, 0.6]), np.array([0, 0, 1])) == 2 / 3
        True
    """
    positive = _positive(scores, labels)
    return float(((np.asarray(scores) > threshold) == positive).mean())


def confusion(
    scores: np.ndarray, labels: np.ndarray, threshold: float = 0.5
) -> np.ndarray:
    """How many images of each class were taken for which.

    Args:
        scores: (n,); above the threshold is class 1.
        labels: (n,) of 0 and 1.
        threshold: one half for probabilities.

    Returns:
        int64 (2, 2): row the class, column what it was taken for.

    Raises:
        ValueError: the arrays do not fit.

    Example:
        >>> confusion(np.array([0.1, 0.7, 0.6]), np.array([0, 0, 1])).tolist()
        [[1, 1], [0, 1]]
    """
    positive = _positive(scores, labels)
    pairs = 2 * positive + (np.asarray(scores) > threshold)
    return np.bincount(pairs, minlength=4).reshape(2, 2)


def _positive(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape or not scores.size:
        raise ValueError(
            "scores and labels are two arrays (n,) of the same images: got "
            f"{scores.shape} and {labels.shape}"
        )
    if not np.isfinite(scores).all() or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            "scores must be finite and labels 0 or 1: got labels "
            f"{np.unique(labels)[:5].tolist()}. Did the run end in NaN?"
        )
    return labels == 1
