"""Figure 2: multi-head attention on the left, multi-head PRM on the right."""

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_flax.figures.canvas import DARK, LIGHT, blank, save
from prm_flax.figures.scene import (
    CHANNELS,
    GROUPS,
    SIZE,
    channel_means,
    features,
    parameters,
)
from prm_flax.figures.shapes import RADIUS, SMALL, Point, Sheet, stack
from prm_flax.prm.functional import recalibrate

WIDTH, HEIGHT = 14.6, 5.9
TILE, STEP, PITCH, BOX = 0.8, 0.09, 1.1, 0.5
HALF, LABEL = TILE / 2, TILE / 2 + 0.2
# Middles of the rows, the first head above.
ROWS = tuple(4.55 - PITCH * k for k in range(GROUPS))
MIDDLE, TITLE, HEADING, NOTE = (ROWS[0] + ROWS[-1]) / 2, 5.57, ROWS[0] + 0.56, 0.5
# From the middle of a stack's front to that of the stack.
DEEP = STEP * (GROUPS - 1) / 2
# Middles of the columns: of attention, then of PRM.
X, TRUNK, QKV, PAIRS, HEAD, JOIN, MIX, MIXED = (
    0.58,
    1.55,
    2.3,
    3.4,
    4.5,
    5.1,
    5.68,
    6.75,
)
GROUPED, SPLIT, GROUP, PRM, GATE, GATED, JOINED, Y = (
    *(8.4, 9.35, 10.0, 10.98),
    *(11.88, 12.6, 13.0, 13.72),
)
ATTENTION = (
    "Every head projects all $C$ channels and compares each of the $N$ positions",
    "with all: $N^2$ similarities a head; $4C^2$ parameters together.",
)
OURS = (
    "Every head has $C/g$ channels and compares each of the $N$ positions with one",
    "query and the mean: $2N$ similarities a head; $4g + 3$ parameters together.",
)
# Attention's maps are of pairs: of more positions nothing could be seen.
POOLED = 10
SEED = 4
# Makes the maps of random projections as uneven as those of trained ones.
SHARPNESS = 12.0


class HeadsScene(NamedTuple):
    """What the picture shows, by head.

    Attributes:
        before: (g, h, w) channel means of x.
        attention: (g, n, n) rows that sum to 1, of n = 10 × 10 positions.
        attended: (g, 10, 10) channel means of what attention gives.
        mixed: (g, 10, 10) the same of the heads' mixture W_o.
        queries: (g, 2) row and column of PRM's query positions.
        gates: (g, h, w) PRM's.
        after: (g, h, w) channel means of PRM's y.
    """

    before: np.ndarray
    attention: np.ndarray
    attended: np.ndarray
    mixed: np.ndarray
    queries: np.ndarray
    gates: np.ndarray
    after: np.ndarray


def draw_heads(path: str | os.PathLike, *, dark: bool = False) -> None:
    """Draws multi-head attention and multi-head PRM; every heat map is computed.

    Args:
        path: of the PNG to write.
        dark: bright lines on a dark page.

    Raises:
        ValueError: path does not end in .png.
    """
    theme = DARK if dark else LIGHT
    figure = blank(WIDTH, HEIGHT, theme, constrained=False)
    sheet, arrays = Sheet(figure, theme), heads_scene()
    for draw in (_attention, _mixture, _prm, _gates):
        draw(sheet, arrays)
    save(figure, path)


def _attention(sheet: Sheet, arrays: HeadsScene) -> None:
    ink, hue = sheet.theme.ink, sheet.theme.query
    _words(sheet, (X + MIXED) / 2, "multi-head attention", ATTENTION)
    _features(sheet, X, arrays.before, "features $x$")
    sheet.line(ink, (X + DEEP * 2 + HALF, MIDDLE), (TRUNK, MIDDLE), arrow=False)
    _heading(sheet, QKV, "projections")
    _heading(sheet, PAIRS, "$N$ × $N$ weights")
    _heading(sheet, HEAD, "weighted $V$")
    for k, y in enumerate(ROWS):
        sheet.line(ink, (TRUNK, MIDDLE), (TRUNK, y), (QKV - 0.45, y))
        sheet.box((QKV, y), 0.9, BOX)
        sheet.formula((QKV, y), f"$Q_{k + 1}, K_{k + 1}, V_{k + 1}$", ink, size=12)
        sheet.line(ink, (QKV + 0.45, y), (PAIRS - HALF, y))
        sheet.image((PAIRS, y), arrays.attention[k], (TILE, TILE), hue)
        sheet.line(ink, (PAIRS + HALF, y), (HEAD - HALF, y))
        sheet.image((HEAD, y), arrays.attended[k], (TILE, TILE), ink)


def _mixture(sheet: Sheet, arrays: HeadsScene) -> None:
    ink = sheet.theme.ink
    for y in ROWS:
        sheet.line(ink, (HEAD + HALF, y), (JOIN, y), (JOIN, MIDDLE), arrow=False)
    sheet.line(ink, (JOIN, MIDDLE), (MIX - 0.37, MIDDLE))
    sheet.box((MIX, MIDDLE), 0.74, 0.74)
    sheet.text((MIX, MIDDLE + 0.13), "concat", size=SMALL)
    sheet.formula((MIX, MIDDLE - 0.16), "$W_o$", ink, size=12)
    sheet.line(ink, (MIX + 0.37, MIDDLE), (MIXED - HALF, MIDDLE))
    _features(sheet, MIXED, arrays.mixed, "output $y$")


def _prm(sheet: Sheet, arrays: HeadsScene) -> None:
    theme = sheet.theme
    _words(sheet, (GROUPED + Y) / 2 + 0.1, "multi-head PRM", OURS)
    _features(sheet, GROUPED, arrays.before, "features $x$")
    start = GROUPED + DEEP * 2 + HALF, MIDDLE
    sheet.line(theme.ink, start, (SPLIT, MIDDLE), arrow=False)
    _heading(sheet, GROUP, "group, query")
    _heading(sheet, GATE, "gate")
    for k, y in enumerate(ROWS):
        sheet.line(theme.ink, (SPLIT, MIDDLE), (SPLIT, y), (GROUP - HALF, y))
        sheet.image((GROUP, y), arrays.before[k], (TILE, TILE), theme.ink)
        down, right = (arrays.queries[k] + 0.5) / SIZE * TILE
        sheet.cross((GROUP - HALF + right, y + HALF - down), theme.query)
        sheet.line(theme.ink, (GROUP + HALF, y), (PRM - 0.28, y))
        sheet.box((PRM, y), 0.56, BOX)
        sheet.text((PRM, y), "PRM", size=SMALL)
        sheet.line(theme.ink, (PRM + 0.28, y), (GATE - HALF, y))


def _gates(sheet: Sheet, arrays: HeadsScene) -> None:
    ink = sheet.theme.ink
    for k, y in enumerate(ROWS):
        branch = GROUP + HALF + 0.11
        below = y - HALF - 0.1
        corners = (branch, below), (GATED, below)
        sheet.line(ink, (branch, y), *corners, (GATED, y - RADIUS))
        sheet.dot((branch, y), ink)
        sheet.image((GATE, y), arrays.gates[k], (TILE, TILE), ink)
        sheet.line(ink, (GATE + HALF, y), (GATED - RADIUS, y))
        sheet.operator((GATED, y), r"$\times$")
        end = (JOINED, y), (JOINED, MIDDLE)
        sheet.line(ink, (GATED + RADIUS, y), *end, arrow=False)
    sheet.line(ink, (JOINED, MIDDLE), (Y - HALF, MIDDLE))
    sheet.text((JOINED + 0.1, MIDDLE + 0.82), "concat", size=SMALL, ha="left")
    _features(sheet, Y, arrays.after, "recalibrated $y$")


def _features(sheet: Sheet, x: float, faces, words: str) -> None:
    """A stack whose middle is at the rows' middle, and its name."""
    stack(sheet, (x, MIDDLE - DEEP), faces, TILE, STEP)
    sheet.text((x + DEEP, MIDDLE - DEEP - LABEL), words)


def _heading(sheet: Sheet, x: float, words: str) -> None:
    sheet.text((x, HEADING), words, sheet.theme.faint, SMALL)


def _words(sheet: Sheet, x: float, title: str, notes: tuple[str, str]) -> None:
    sheet.text((x, TITLE), title, size=15)
    for k, words in enumerate(notes):
        place: Point = x, NOTE - 0.25 * k
        sheet.text(place, words, sheet.theme.faint, SMALL)


def heads_scene() -> HeadsScene:
    """Runs multi-head attention, of random projections, and PRM on `features`.

    Attention's head k of g, of x with n positions in rows and C columns::

        A_k = softmax(s · x Q_k (x K_k)ᵀ / √(C/g)),   y = [A_1 x V_1, …, A_g x V_g] W_o
    """
    x = features()
    y, maps = recalibrate(jnp.asarray(x), parameters(), return_maps=True)
    attention, attended, mixed = _attend(_pooled(x))
    gates = np.moveaxis(np.asarray(maps.gate), -1, 0)
    return HeadsScene(
        channel_means(x),
        attention,
        attended,
        mixed,
        np.asarray(maps.query),
        gates,
        channel_means(y),
    )


def _pooled(x: np.ndarray) -> np.ndarray:
    window = SIZE // POOLED
    parts = x.reshape(POOLED, window, POOLED, window, -1)
    return parts.mean((1, 3)).reshape(POOLED**2, -1)


def _attend(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random, c = np.random.default_rng(SEED), GROUPS * CHANNELS
    to_qkv = random.normal(size=(3, GROUPS, c, CHANNELS)) / np.sqrt(c)
    q, k, v = np.einsum("nc,pgcd->pgnd", x, to_qkv)
    scores = SHARPNESS * np.einsum("gnd,gmd->gnm", q, k) / np.sqrt(CHANNELS)
    attention = np.asarray(jax.nn.softmax(jnp.asarray(scores), axis=-1))
    heads = np.einsum("gnm,gmd->gnd", attention, v)
    joined = np.moveaxis(heads, 0, 1).reshape(len(x), c)
    mixed = joined @ random.normal(size=(c, c)) / np.sqrt(c)
    by_group = mixed.reshape(POOLED, POOLED, GROUPS, CHANNELS).mean(-1)
    size = GROUPS, POOLED, POOLED
    return attention, heads.mean(-1).reshape(size), np.moveaxis(by_group, -1, 0)
