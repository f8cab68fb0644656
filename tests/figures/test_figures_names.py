"""Names are data: they are drawn as they are, whatever they are made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from prm_flax.figures import accuracy, canvas, looks_plot, plots, rates_plot
from prm_flax.figures.accuracy import HeadsRuns
from prm_flax.figures.class_names import read_names
from prm_flax.figures.lettering import any_letters, fitted, shortened
from prm_flax.figures.looks_plot import Looks
from prm_flax.printable import printable

# A name -> how it is drawn.
NAMES = {
    "caf\udce9": "caf\\xe9",
    "$x_1^2$": "$x_1^2$",
    "$\\frac{": "$\\frac{",
    "two\nlines": "two\\nlines",
    "_hidden": "_hidden",
    "🍋 日本": "🍋 日本",
    "<b>&amp;</b>": "<b>&amp;</b>",
    "{0} %s": "{0} %s",
    "n" * 100 + "W" * 100: None,  # too long, see below
}
IMAGES = np.zeros((len(NAMES), 8, 8, 1), np.uint8)
SURE = np.eye(len(NAMES))
POINTS = np.ones((len(NAMES), 2, 2))


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The figures that were drawn, and written too."""
    figures = []

    def save(figure, path):
        figures.append(figure)
        canvas.save(figure, tmp_path / path)

    for module in (plots, looks_plot, rates_plot, accuracy):
        monkeypatch.setattr(module, "save", save)
    return figures


def assert_inside(figure, texts):
    renderer = figure.canvas.get_renderer()
    with any_letters():
        for text in texts:
            box = text.get_window_extent(renderer)
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1


def test_class_names_above_images(drawn):
    labels = range(len(NAMES))
    queries = {"$stage_1$": POINTS, "_two": POINTS}
    plots.predictions("p.png", IMAGES, labels, SURE, list(NAMES), queries)
    (figure,) = drawn
    for axes, shown in zip(figure.axes, NAMES.values(), strict=True):
        (second,) = axes.texts
        if shown is not None:
            assert axes.get_title() == f"✓ {shown} 100%"
            assert second.get_text() == f"true: {shown}"
        for text in (axes.title, second):
            assert not text.get_parse_math()
    long = figure.axes[-1]
    assert long.get_title().startswith("✓ nnn") and long.get_title().endswith("W 100%")
    # A panel has 2.2 inches; what is above the next one must not meet it.
    with any_letters():
        assert long.title.get_window_extent().width < 2.2 * canvas.DPI
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["$stage_1$", "_two"]


def test_class_names_beside_bars(drawn):
    names = [*list(NAMES)[:4], list(NAMES)[-1]]
    shares = np.array([[0.3, 0.25, 0.2, 0.15, 0.1]])
    plots.predictions("p.png", IMAGES[:1], None, shares, names)
    photo, bars = drawn[0].axes
    labels = bars.get_yticklabels()
    shown = [label.get_text() for label in labels]
    assert shown[:4] == [NAMES[name] for name in names[:4]]
    assert shown[4].startswith("nnn") and "…" in shown[4] and shown[4].endswith("WWW")
    assert not any(label.get_parse_math() for label in labels)
    assert_inside(drawn[0], [photo.title, *labels])
    with any_letters():
        left = min(label.get_window_extent().x0 for label in labels)
    assert photo.bbox.x1 < left


@pytest.mark.parametrize("name", [*NAMES, "W" * 200])
def test_titles(drawn, name):
    cams = {"stage1": np.eye(2)}
    looks_plot.draw_looks("l.png", Looks(IMAGES[0], cams, {}, {}), f"run: {name}, 9 %")
    rates_plot.draw_rates("r.png", {"a/prm": 0.5}, {"a/prm": "stage1"}, name)
    runs = HeadsRuns("resnet14", name, {8: [90.0]}, [])
    accuracy.draw_accuracy("a.png", runs)
    looks, rates, heads = drawn
    texts = looks._suptitle, rates.axes[0].title, heads.axes[0].yaxis.label
    for figure, text in zip(drawn, texts, strict=True):
        assert not text.get_parse_math()
        assert_inside(figure, [text])
    if len(name) < 200:
        assert looks.get_suptitle() == f"run: {NAMES[name]}, 9 %"
        assert rates.axes[0].get_title() == NAMES[name]
        words = f"top-1 accuracy on {NAMES[name]}, %"
        assert heads.axes[0].get_ylabel() == words
    else:
        assert all("…" in text.get_text() for text in texts)


def test_formulas_of_our_own_are_still_formulas(drawn):
    rates_plot.draw_rates("r.png", {"a/prm": 0.5}, {"a/prm": "stage1"}, "t")
    assert drawn[0].axes[0].yaxis.label.get_parse_math()


def inches(words, size):
    with any_letters():
        font = FontProperties(size=size)
        return text_to_path.get_text_width_height_descent(words, font, False)[0] / 72


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=60).map("".join)
    | st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
def test_a_name_fits_its_place_or_is_cut_in_its_middle(name):
    shown = printable(name)
    found = fitted(name, room=1.5, size=10, form="true: {}")
    assert inches(found, 10) <= 1.5
    if inches(f"true: {shown}", 10) <= 1.5:
        assert found == f"true: {shown}"
    else:
        start, end = found.removeprefix("true: ").split("…", 1)
        assert shown.startswith(start) and shown.endswith(end)


def test_a_name_is_not_cut_before_it_must_be():
    name = "Madagascar cat, ring-tailed lemur"
    found = fitted(name, room=1.5, size=10)
    longer = shortened(name, len(found) + 2)
    assert inches(found, 10) <= 1.5 < inches(longer, 10)


@pytest.mark.parametrize(
    "most, shown", [(1, "…"), (4, "te…y"), (5, "te…hy"), (6, "tenchy"), (7, "tenchy")]
)
def test_the_ellipsis_is_in_the_middle(most, shown):
    assert shortened("tenchy", most) == shown


def test_names_from_a_file_may_have_what_ends_a_line_elsewhere(tmp_path):
    (tmp_path / "n.txt").write_text("a\x0bb\n日本\u2028x\n", encoding="utf-8")
    assert read_names(tmp_path / "n.txt", 2) == ["a\x0bb", "日本\u2028x"]
