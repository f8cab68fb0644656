"""Pictures of a detector: its boxes on images, its curves."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from prm_flax.figures.canvas import BLUE, GREEN, LIGHT, VERMILION, blank, save
from prm_flax.figures.lettering import fitted
from prm_flax.figures.plots import curve

COLUMNS = 4
WIDTH = 3.0  # inches of a panel
Scalars = Sequence[Mapping[str, float | None]]


class Found(NamedTuple):
    """Boxes of one image, best first.

    Attributes:
        boxes: (n, 4) x1, y1, x2, y2, pixels.
        labels: (n,) places in the list of classes.
        scores: (n,).
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def detections(
    path: str | os.PathLike,
    images: Sequence[np.ndarray],
    found: Sequence[Found],
    class_names: Sequence[str],
    truth: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    least: float = 0.3,
    titles: Sequence[str] | None = None,
) -> None:
    """Draws images with the boxes found on them.

    Boxes found are blue, with class and score; those of the ground truth are green and
    dashed.

    Args:
        path: of the PNG to write.
        images: (h, w, 3) uint8 each, of any sizes.
        found: of each image.
        class_names: of the classes.
        truth: boxes (n, 4) and labels (n,) of each image, or None.
        least: score from which a box is drawn.
        titles: of the images; None for the number of boxes.

    Raises:
        ValueError: no images, other numbers of them, or a path not ending in .png.
    """
    if not len(images) or len(images) != len(found):
        raise ValueError(
            f"each image needs its boxes, and there must be some: {len(images)} images,"
            f" {len(found)} sets of boxes."
        )
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    ratio = max(image.shape[0] / image.shape[1] for image in images)
    figure = blank(WIDTH * columns, (WIDTH * min(ratio, 1.6) + 0.35) * rows)
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in panels[len(images) :]:
        axes.set_axis_off()
    for i, axes in enumerate(panels[: len(images)]):
        own = None if truth is None else truth[i]
        _panel(axes, images[i], found[i], class_names, own, least)
        shown = f"{int((found[i].scores >= least).sum())} boxes"
        title = shown if titles is None else fitted(titles[i], WIDTH, 8)
        axes.set_title(title, size=8, color=LIGHT.faint)
    if truth is not None:
        handles = [_line(BLUE, "-", "found"), _line(GREEN, "--", "ground truth")]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=2, frameon=False
        )
    save(figure, path)


def _line(color: str, style: str, label: str) -> Rectangle:
    return Rectangle((0, 0), 1, 1, fill=False, color=color, ls=style, label=label)


def _panel(axes: Axes, image, found: Found, names, truth, least: float) -> None:
    axes.imshow(image)
    axes.set_axis_off()
    for box, _ in zip(*truth, strict=True) if truth is not None else ():
        _draw(axes, box, GREEN, "--")
    shown = found.scores >= least
    # The best last, so that its words are on top.
    parts = (each[shown][::-1] for each in found)
    for box, label, score in zip(*parts, strict=True):
        _draw(axes, box, BLUE, "-")
        axes.text(
            box[0],
            max(box[1], 0),
            f"{fitted(str(names[label]), 1.2, 6)} {score:.2f}",
            size=6,
            color="white",
            va="bottom",
            clip_on=True,
            bbox={"facecolor": BLUE, "edgecolor": "none", "pad": 0.6},
        )


def _draw(axes: Axes, box: np.ndarray, color: str, style: str) -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(
        Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, color=color,
                  ls=style, lw=1.4)
    )  # fmt: skip


def curves(
    path: str | os.PathLike, train: Scalars, test: Scalars, losses: Sequence[str]
) -> None:
    """Draws the losses (left) and the average precisions (right) over the epochs.

    Args:
        path: of the PNG to write.
        train: one mapping a logged step, with "epoch" and the losses.
        test: one mapping a test, with "epoch", "AP" and "AP50".
        losses: names of the losses besides "loss".
    """
    figure = blank(9.2, 3.7)
    left, right = figure.subplots(1, 2)
    colors = (LIGHT.ink, BLUE, VERMILION, GREEN, LIGHT.position, LIGHT.query)
    for i, name in enumerate(("loss", *losses)):
        curve(left, train, name, colors[i % len(colors)], name)
    for name, color in (("AP", BLUE), ("AP50", VERMILION)):
        epochs = [row["epoch"] for row in test]
        values = [row.get(name) for row in test]
        points = [(e, v) for e, v in zip(epochs, values, strict=True) if v is not None]
        if points:
            right.plot(*zip(*points, strict=True), "o-", color=color, ms=4, label=name)
    left.set(xlabel="epoch", ylabel="training losses")
    right.set(xlabel="epoch", ylabel="average precision, %", ylim=(0, 100))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=LIGHT.faint, alpha=0.2, linewidth=0.8)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    save(figure, path)


def precision_recall(
    path: str | os.PathLike, by_class: Mapping[str, float], curves: np.ndarray
) -> None:
    """Draws precision over recall of each class, and their mean.

    Of more than twelve classes those with the best and the worst six APs are drawn.

    Args:
        path: of the PNG to write.
        by_class: class -> AP, a share; -1 where it has no ground truth.
        curves: (classes, recalls) precision over recalls from 0 to 1, or -1 likewise.
    """
    figure = blank(7.4, 4.2)
    axes = figure.subplots()
    recalls = np.linspace(0, 1, curves.shape[1])
    ranked = sorted(by_class, key=lambda name: -by_class[name])
    there = [name for name in ranked if by_class[name] >= 0]
    drawn = there if len(there) <= MOST else [*there[: MOST // 2], *there[-MOST // 2 :]]
    rows = dict(zip(by_class, curves, strict=True))
    for i, name in enumerate(drawn):
        label = f"{fitted(name, 1.4, 8)}  {100 * by_class[name]:.1f}"
        style = ("-", "--", ":")[i // len(HUES) % 3]
        axes.plot(
            recalls, rows[name], style, color=HUES[i % len(HUES)], lw=1.1, label=label
        )
    if there:
        mean = np.mean([rows[name] for name in there], axis=0)
        whole = 100 * np.mean([by_class[name] for name in there])
        axes.plot(recalls, mean, color=LIGHT.ink, lw=2.4, label=f"mean  {whole:.1f}")
        axes.legend(
            frameon=False, fontsize=8, title="AP, %", bbox_to_anchor=(1.01, 1), loc=2
        )
    axes.set(
        xlabel="recall", ylabel="precision at IoU 0.5", xlim=(0, 1), ylim=(0, 1.02)
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=LIGHT.faint, alpha=0.2, linewidth=0.8)
    save(figure, path)


HUES, MOST = (BLUE, VERMILION, GREEN, LIGHT.position), 12
