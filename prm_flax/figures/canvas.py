"""Blank figures, the colours, and the way to the disk, alike for all pictures."""

import io
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from prm_flax.figures.lettering import any_letters

DPI = 150
# Okabe and Ito's colours, which colour-blind readers tell apart too.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"


class Theme(NamedTuple):
    """The colours of one picture; the three hues mark the three terms of PRM."""

    paper: str
    ink: str
    faint: str
    position: str
    query: str
    context: str


LIGHT = Theme("#ffffff", "#1f2328", "#59636e", "#a8417a", "#c24e00", BLUE)
DARK = Theme("#0d1117", "#e6edf3", "#8b949e", "#e3a1c5", "#f0883e", "#58a6ff")


def blank(
    width: float, height: float, theme: Theme = LIGHT, constrained: bool = True
) -> Figure:
    """An empty figure of its own, outside pyplot's global state.

    Args:
        width: inches.
        height: inches.
        theme: gives the paper's colour.
        constrained: arrange the axes so that no words are cut off or overlap.

    Returns:
        The figure, which draws without a display.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1) if constrained else None
    figure = Figure((width, height), dpi=DPI, facecolor=theme.paper, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def check_path(path: str | os.PathLike) -> Path:
    """The path, if a picture can have it.

    Raises:
        ValueError: it does not end in .png.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"Pictures are PNG files: {path} must end in .png.")
    return path


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a PNG whole or not at all; the same picture gives the same bytes.

    Args:
        figure: from `blank`.
        path: of the file, which must end in .png. Missing folders are made, an old
            file is replaced.

    Raises:
        ValueError: another ending.
    """
    path = check_path(path)
    data = io.BytesIO()
    with any_letters():
        # By default Matplotlib's version is in the file.
        figure.savefig(data, format="png", dpi=DPI, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(data.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
