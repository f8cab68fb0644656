"""AUC and accuracy of finished runs of two classes, with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmarks.markdown import grid
from prm_flax.printable import markdown
from studies.bootstrap import Statistic, bootstrap, paired_bootstrap
from studies.intervals import Interval
from studies.probabilities import Predictions, predictions_of_run
from studies.scores import accuracy, auc, confusion

SCORES: Mapping[str, Statistic] = MappingProxyType({"AUC": auc, "accuracy": accuracy})


def score_table(
    runs: Sequence[Path], against: Sequence[Path], draws: int = 10_000
) -> str:
    """The scores of each run, and the differences of two sets of runs, as Markdown.

    Args:
        runs: folders of finished runs of a network, with other seeds.
        against: those of another network on the same images; may be empty.
        draws: of the bootstrap.

    Raises:
        ValueError: a folder is no finished run, its data have not two classes, or the
            runs are not of the same images.
    """
    found = {run: _two_classes(run) for run in (*runs, *against)}
    positive = markdown(next(iter(found.values())).class_names[1])
    lines = [_line(run, predictions, draws) for run, predictions in found.items()]
    head = ["run", *SCORES, f"taken for {positive}: wrongly / rightly / missed"]
    parts = [f"Intervals cover other test images.\n\n{grid(head, lines)}"]
    if against:
        ours, theirs = ([found[run] for run in group] for group in (runs, against))
        parts.append(_compared(ours, theirs, draws))
    return "\n\n".join(parts)


def _two_classes(run: Path) -> Predictions:
    predictions = predictions_of_run(run)
    if len(predictions.class_names) != 2:
        raise ValueError(
            f"AUC is of two classes: {run} was trained on "
            f"{len(predictions.class_names)}."
        )
    return predictions


def _line(run: Path, predictions: Predictions, draws: int) -> list[str]:
    scores = predictions.probabilities[:, 1]
    cells = [
        formatted(bootstrap(statistic, scores, predictions.labels, draws=draws))
        for statistic in SCORES.values()
    ]
    (_, wrongly), (missed, rightly) = confusion(scores, predictions.labels)
    return [markdown(run.name), *cells, f"{wrongly} / {rightly} / {missed}"]


def _compared(ours: list[Predictions], theirs: list[Predictions], draws: int) -> str:
    labels = ours[0].labels
    if any(not np.array_equal(a.labels, labels) for a in (*ours, *theirs)):
        raise ValueError(
            "runs to compare must have the same test images: these have not."
        )
    us, them = (np.stack([a.probabilities[:, 1] for a in g]) for g in (ours, theirs))
    cells = differences(us, them, labels, draws)
    covers = "test images and trainings" if _several(us, them) else "test images"
    said = f"The first {len(ours)} less the other {len(theirs)}; covers other {covers}."
    return f"{said}\n\n{grid(['', *SCORES], [['difference', *cells]])}"


def differences(
    ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray, draws: int
) -> list[str]:
    """Each score's difference of two networks: over trainings too, if each has several.

    Args:
        ours: probabilities (seeds, n).
        theirs: the same of the other network; seeds may be of another number.
        labels: (n,).
        draws: of the bootstrap.
    """
    several = _several(ours, theirs)
    return [
        formatted(
            paired_bootstrap(s, ours, theirs, labels, draws, resample_seeds=several)
        )
        for s in SCORES.values()
    ]


def _several(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return len(ours) > 1 and len(theirs) > 1


def formatted(found: Interval) -> str:
    """A score with its interval.

    Example:
        >>> formatted(Interval(0.81, 0.7891, 0.84))
        '0.810 (0.789 to 0.840)'
    """
    ends = f"{found.low:.3f} to {found.high:.3f}"
    return f"{found.value:.3f} ({ends})".replace("-", "−")
