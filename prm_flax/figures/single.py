"""Beside one image: its likeliest classes, as bars."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from prm_flax.figures.canvas import BLUE, LIGHT
from prm_flax.figures.lettering import fitted

BARS = 5
# Inches and points of a class's name.
ROOM, SIZE = 2.1, 10


def likeliest(axes: Axes, probabilities: np.ndarray, names: Sequence[str]) -> None:
    """Draws the five likeliest classes, the first above, each with its percentage.

    Args:
        axes: to draw on.
        probabilities: (classes,).
        names: of the classes; of fewer than five, all are drawn.
    """
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
