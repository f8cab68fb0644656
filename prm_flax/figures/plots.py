"""Pictures of a training: its curves, and what the network said of which images."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prm_flax.figures.canvas import BLUE, LIGHT, VERMILION, blank, save
from prm_flax.figures.gallery import panel, stage_legend
from prm_flax.figures.lettering import fitted

COLUMNS = 4
# The most images that fit into a picture of predictions.
MOST = 16
# The likeliest classes of a single image; inches and points of a class's name.
BARS = 5
ROOM, SIZE = 2.1, 10
Scalars = Sequence[Mapping[str, float | None]]


def curves(path: str | os.PathLike, train: Scalars, test: Scalars) -> None:
    """Draws the loss (left) and the top-1 accuracy (right) over the epochs.

    The training's are drawn as they are, faintly, and as a running mean over a
    fiftieth of them; the test's are points. A value that is missing, None or not
    finite leaves a gap.

    Args:
        path: of the PNG to write.
        train: one mapping a logged step, with "epoch" (a fraction), "loss", "top1" (%).
        test: one mapping a test, with the same keys; may be empty.

    Raises:
        ValueError: path does not end in .png.
    """
    figure = blank(9.2, 3.7)
    for axes, key, name in zip(
        figure.subplots(1, 2),
        ("loss", "top1"),
        ("loss", "top-1 accuracy, %"),
        strict=True,
    ):
        _curve(axes, train, test, key)
        axes.set(xlabel="epoch", ylabel=name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=LIGHT.faint, alpha=0.2, linewidth=0.8)
    if train or test:
        figure.axes[0].legend(frameon=False)
    save(figure, path)


def curve(axes: Axes, rows: Scalars, key: str, color: str, label: str) -> None:
    """Draws a column over the epochs: as it is, faintly, and its running mean."""
    if not rows:
        return
    epoch, values = _column(rows, "epoch"), _column(rows, key)
    window = max(1, len(values) // 50)
    # A line needs two points to be seen.
    marker = "." if len(values) == 1 else None
    if window > 1:
        axes.plot(epoch, values, color=color, linewidth=0.6, alpha=0.25)
    axes.plot(
        epoch,
        running_mean(values, window),
        color=color,
        linewidth=1.3,
        marker=marker,
        label=label,
    )


def _curve(axes: Axes, train: Scalars, test: Scalars, key: str) -> None:
    curve(axes, train, key, BLUE, "train")
    if test:
        epoch, values = _column(test, "epoch"), _column(test, key)
        axes.plot(
            epoch, values, "o", color=VERMILION, markersize=4.5, mew=0, label="test"
        )


def _column(rows: Scalars, key: str) -> np.ndarray:
    values = [row.get(key) for row in rows]
    column = np.array([np.nan if v is None else v for v in values], dtype=float)
    return np.where(np.isfinite(column), column, np.nan)


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the finite values among the `window` about each place.

    Args:
        values: (n,) with NaN where there is none.
        window: how many places, cut off at both ends.

    Returns:
        (n,) with NaN where `values` has it.
    """
    there = np.isfinite(values)
    about = slice((window - 1) // 2, (window - 1) // 2 + len(values))
    total = np.convolve(np.where(there, values, 0.0), np.ones(window))[about]
    count = np.convolve(there, np.ones(window))[about]
    return np.where(there, total / np.maximum(count, 1), np.nan)


def predictions(
    path: str | os.PathLike,
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray | None,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    queries: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Draws images with what the network said of them and where its PRMs looked.

    Above each image stands the class it was taken for and how probably, and below
    that the true class. Right is blue with a tick, wrong is orange
    with a cross. A query point is the larger the more groups share it. Beside an only
    image stand its five likeliest classes.

    Args:
        path: of the PNG to write.
        images: (n, h, w, 1 or 3) uint8, n from 1 to 16.
        labels: n true classes, or None where they are not known.
        probabilities: (n, classes), of which each row sums to 1.
        class_names: of the classes.
        queries: stage -> (n, g, 2) row and column in pixels, such as
            `maps.stage_queries` gives them.

    Raises:
        ValueError: shapes that do not fit each other, rows that are no
            probabilities, or a path that does not end in .png.
    """
    queries = dict(queries or {})
    images, probabilities = np.asarray(images), np.asarray(probabilities)
    _check_predictions(images, labels, probabilities, class_names, queries)
    figure, panels = _one(queries) if len(images) == 1 else _many(len(images), queries)
    for i, axes in enumerate(panels[: len(images)]):
        truth = None if labels is None else int(labels[i])
        points = {stage: places[i] for stage, places in queries.items()}
        panel(axes, images[i], truth, probabilities[i], class_names, points)
    if len(images) == 1:
        _likeliest(panels[1], probabilities[0], class_names)
    if queries:
        stage_legend(figure, queries)
    save(figure, path)


def _check_predictions(images, labels, probabilities, names, queries) -> None:
    """Raises ValueError unless the arguments of `predictions` fit together."""
    n, shape = len(images), images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[-1] not in (1, 3):
        raise ValueError(
            "images must be (n, height, width, 1 or 3) of uint8, as they were before "
            f"normalisation, got {shape} of {images.dtype}."
        )
    if not 1 <= n <= MOST:
        raise ValueError(f"From 1 to {MOST} images fit, got {n}; take images[:{MOST}].")
    if probabilities.shape != (n, len(names)):
        raise ValueError(
            f"probabilities must be (images, class_names) = ({n}, {len(names)}), got "
            f"{probabilities.shape}."
        )
    if not (
        np.allclose(probabilities.sum(1), 1, atol=0.02) and probabilities.min() >= 0
    ):
        raise ValueError(
            "Each row of probabilities must be at least 0 and sum to 1; "
            "jax.nn.softmax(logits) is such."
        )
    if labels is not None and (
        len(labels) != n or not all(0 <= label < len(names) for label in labels)
    ):
        raise ValueError(
            f"labels must be {n} integers from 0 to {len(names) - 1}, or None; got "
            f"{labels}."
        )
    for stage, points in queries.items():
        if np.ndim(points) != 3 or len(points) != n or np.shape(points)[2] != 2:
            raise ValueError(
                f"queries[{stage!r}] must be (images, groups, 2) = ({n}, g, 2), got "
                f"{np.shape(points)}."
            )


def _many(n: int, legend: object) -> tuple[Figure, Sequence[Axes]]:
    """A figure with n places for images, with room for a legend if there is one."""
    across = min(n, COLUMNS)
    down = -(-n // across)
    figure = blank(2.2 * across, 2.7 * down + 0.6 * bool(legend))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[n:]:
        axes.remove()
    return figure, list(panels[:n])


def _one(legend: object) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a place for one image, and one for its bars."""
    figure = blank(8.4, 3.4 + 0.6 * bool(legend))
    return figure, list(figure.subplots(1, 2, width_ratios=(1, 0.8)))


def _likeliest(axes: Axes, probabilities: np.ndarray, names: Sequence[str]) -> None:
    """Draws the five likeliest classes, the first above, each with its percentage."""
    best = [int(k) for k in np.argsort(-probabilities, kind="stable")[:BARS]]
    places = np.arange(len(best))
    bars = axes.barh(places, probabilities[best], height=0.6, color=BLUE)
    words = [f"{100 * probabilities[k]:.1f} %" for k in best]
    axes.bar_label(bars, words, padding=4, color=LIGHT.ink)
    shown = [fitted(names[k], ROOM, SIZE) for k in best]
    axes.set_yticks(places, shown, size=SIZE, parse_math=False)
    # A full bar leaves room for its percentage.
    axes.set(xticks=[], xlim=(0, 1.2))
    axes.invert_yaxis()
    axes.tick_params(left=False, labelcolor=LIGHT.ink)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(LIGHT.faint)
