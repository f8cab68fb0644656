"""The picture of the module, from the features on the left to those on the right."""

import os

from prm_flax.figures.canvas import DARK, LIGHT, blank, save
from prm_flax.figures.scene import SIZE, Scene, scene
from prm_flax.figures.shapes import RADIUS, SMALL, Sheet, stack

WIDTH, HEIGHT = 13.1, 5.4
TILE, STEP, STRIP = 1.0, 0.14, 0.16
HALF, LABEL = TILE / 2, TILE / 2 + 0.19
# Middles of the columns and of the rows; the bus carries x to both similarities.
X, TRUNK, VECTORS, MAPS, TIMES, PLUS = 0.7, 1.9, 3.0, 4.6, 5.6, 6.2
SCORES, STEPS, GATE, GATED, Y = 7.25, 8.7, 10.15, 11.0, 11.9
POSITION, QUERY, FRONT, BUS, CONTEXT, SKIP = 4.5, 2.8, 2.59, 1.97, 1.14, 0.2
GAUSSIAN = (
    r"$D = \frac{1}{2}\sum_{a=1}^{2}\,\frac{1}{d\sqrt{2\pi}}\,\exp\left["
    r"-\frac{1}{2}\left(\frac{\theta_a |p - p_q|_a}{d}\right)^{2}\,\right]$"
)
TOTAL = r"$S = \alpha\,\phi(x, q)\,D + \beta\,\phi(x, z)$"
NORMALIZED = r"$T = \frac{S - \mu}{\sigma + \epsilon}$"
SQUASHED = r"$\mathrm{sigmoid}(\lambda T + \xi)$"
NOTES = (
    r"Learned: $\alpha, \beta, \lambda, \xi$ per group; $\theta$ and $d$ shared.",
    "Each map was computed by this library for the group in",
    "front, and has a colour scale of its own.",
)


def draw_module(path: str | os.PathLike, *, dark: bool = False) -> None:
    """Draws how a PRM recalibrates its input; every heat map is computed by it.

    Args:
        path: of the PNG to write.
        dark: bright lines on a dark page.

    Raises:
        ValueError: path does not end in .png.
    """
    theme = DARK if dark else LIGHT
    figure = blank(WIDTH, HEIGHT, theme, constrained=False)
    sheet, arrays = Sheet(figure, theme), scene()
    for draw in (_input, _vectors, _maps, _scores, _gate, _output):
        draw(sheet, arrays)
    save(figure, path)


def _input(sheet: Sheet, arrays: Scene) -> None:
    ink, faint = sheet.theme.ink, sheet.theme.faint
    stack(sheet, (X, FRONT), arrays.before, TILE, STEP)
    sheet.text((X, FRONT - LABEL), "features $x$")
    sheet.text((X, FRONT - LABEL - 0.24), "$g$ groups of", faint, SMALL)
    sheet.text((X, FRONT - LABEL - 0.44), "$C/g$ channels", faint, SMALL)
    trunk = TRUNK, QUERY
    sheet.line(ink, (X + HALF, QUERY), trunk, arrow=False)
    sheet.line(ink, trunk, (TRUNK, POSITION), (VECTORS - HALF, POSITION))
    sheet.line(ink, trunk, (TRUNK, SKIP), (GATED, SKIP), (GATED, QUERY - RADIUS))
    sheet.line(ink, (TRUNK, CONTEXT), (VECTORS - STRIP / 2, CONTEXT))
    sheet.line(ink, (TRUNK, BUS), (MAPS, BUS), arrow=False)
    sheet.line(ink, (MAPS, BUS), (MAPS, QUERY - HALF))
    sheet.line(ink, (MAPS, BUS), (MAPS, CONTEXT + HALF))
    for place in (trunk, (TRUNK, BUS), (TRUNK, CONTEXT), (MAPS, BUS)):
        sheet.dot(place, ink)


def _vectors(sheet: Sheet, arrays: Scene) -> None:
    theme = sheet.theme
    sheet.image((VECTORS, POSITION), arrays.before[0], (TILE, TILE), theme.ink)
    sheet.text((VECTORS, POSITION + LABEL), "mean over channels")
    _cross(sheet, VECTORS, arrays)
    sheet.line(theme.query, (VECTORS, POSITION - HALF), (VECTORS, QUERY + HALF))
    sheet.text((VECTORS + 0.1, 3.65), "argmax: $p_q$", theme.query, SMALL, "left")
    for y, name, made, vector, color in (
        (QUERY, "query $q$", "$x$ at $p_q$", arrays.q, theme.query),
        (CONTEXT, "context $z$", "mean of $x$", arrays.z, theme.context),
    ):
        sheet.image((VECTORS, y), vector[:, None], (STRIP, TILE), color)
        sheet.text((VECTORS - 0.18, y + 0.17), name, color, ha="right")
        sheet.text((VECTORS - 0.18, y - 0.17), made, color, SMALL, "right")
        sheet.line(color, (VECTORS + STRIP / 2, y), (MAPS - HALF, y))


def _cross(sheet: Sheet, x: float, arrays: Scene) -> None:
    down, right = (arrays.query + 0.5) / SIZE * TILE
    sheet.cross((x - HALF + right, POSITION + HALF - down), sheet.theme.query)


def _maps(sheet: Sheet, arrays: Scene) -> None:
    theme = sheet.theme
    sheet.line(theme.position, (VECTORS + HALF, POSITION), (MAPS - HALF, POSITION))
    between = (VECTORS + MAPS) / 2
    sheet.text((between, POSITION + 0.17), "$|p - p_q|$", theme.position)
    for y, label, name, values, color in (
        (POSITION, LABEL, "position $D$", arrays.position, theme.position),
        (QUERY, LABEL, r"similarity $\phi(x, q)$", arrays.sim_query, theme.query),
        (
            CONTEXT,
            -LABEL,
            r"similarity $\phi(x, z)$",
            arrays.sim_context,
            theme.context,
        ),
    ):
        sheet.image((MAPS, y), values, (TILE, TILE), color)
        sheet.text((MAPS, y + label), name, color)
    _cross(sheet, MAPS, arrays)
    sheet.formula((TIMES + 0.3, POSITION), GAUSSIAN, theme.position, "left")


def _scores(sheet: Sheet, arrays: Scene) -> None:
    theme, right = sheet.theme, MAPS + HALF
    turn = TIMES, POSITION
    sheet.line(theme.position, (right, POSITION), turn, (TIMES, QUERY + RADIUS))
    sheet.line(theme.query, (right, QUERY), (TIMES - RADIUS, QUERY))
    sheet.line(theme.query, (TIMES + RADIUS, QUERY), (PLUS - RADIUS, QUERY))
    turn = PLUS, CONTEXT
    sheet.line(theme.context, (right, CONTEXT), turn, (PLUS, QUERY - RADIUS))
    sheet.operator((TIMES, QUERY), r"$\times$")
    sheet.operator((PLUS, QUERY), "$+$")
    sheet.text(((TIMES + PLUS) / 2, QUERY + 0.2), r"$\alpha$", theme.query, 14)
    sheet.text((PLUS - 0.17, BUS), r"$\beta$", theme.context, 14)
    sheet.line(theme.ink, (PLUS + RADIUS, QUERY), (SCORES - HALF, QUERY))
    sheet.image((SCORES, QUERY), arrays.scores, (TILE, TILE), theme.ink)
    sheet.text((SCORES, QUERY + LABEL), "scores $S$")
    sheet.text((SCORES, QUERY - LABEL - 0.03), TOTAL)


def _gate(sheet: Sheet, arrays: Scene) -> None:
    ink, half = sheet.theme.ink, 0.7
    sheet.line(ink, (SCORES + HALF, QUERY), (STEPS - half, QUERY))
    sheet.box((STEPS, QUERY), 2 * half, TILE)
    sheet.formula((STEPS, QUERY + 0.2), NORMALIZED, ink)
    sheet.formula((STEPS, QUERY - 0.25), SQUASHED, ink, size=13)
    sheet.line(ink, (STEPS + half, QUERY), (GATE - HALF, QUERY))
    sheet.image((GATE, QUERY), arrays.gate, (TILE, TILE), ink)
    sheet.text((GATE, QUERY + LABEL), "gate in (0, 1)")
    sheet.line(ink, (GATE + HALF, QUERY), (GATED - RADIUS, QUERY))


def _output(sheet: Sheet, arrays: Scene) -> None:
    sheet.operator((GATED, QUERY), r"$\times$")
    sheet.text((GATED - 0.15, SKIP + 0.5), "$x$", size=14)
    sheet.line(sheet.theme.ink, (GATED + RADIUS, QUERY), (Y - HALF, QUERY))
    stack(sheet, (Y, FRONT), arrays.after, TILE, STEP)
    sheet.text((Y, FRONT - LABEL), "recalibrated $y$")
    for k, words in enumerate(NOTES):
        y = CONTEXT + 0.24 * (1 - k)
        sheet.text((PLUS + 0.25, y), words, sheet.theme.faint, SMALL, "left")
