"""One image is drawn beside its likeliest classes."""

import numpy as np
import pytest

from prm_flax.figures import plots

NAMES = ("cat", "dog", "heron", "tench, Tinca tinca, a fish of fresh water", "a", "b")
PROBABILITIES = np.array([[0.1, 0.5, 0.0, 0.36, 0.03, 0.01]])
QUERIES = {"stage1": np.full((1, 2, 2), 3.5)}


@pytest.fixture
def draw(monkeypatch):
    """Draws an image with what was said of it; the figure, which is not written."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))

    def drawn(probabilities=PROBABILITIES, names=NAMES, queries=QUERIES, label=None):
        image = np.zeros((1, 28, 28, 3), np.uint8)
        labels = None if label is None else [label]
        plots.predictions("p.png", image, labels, probabilities, names, queries)
        figures[-1].canvas.draw()
        return figures[-1]

    return drawn


def words(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def test_five_bars_the_likeliest_above(draw):
    photo, bars = draw().axes
    assert photo.get_title() == "dog 50%"
    assert words(bars) == ["dog", "tench, Tinca ti…of fresh water", "cat", "a", "b"]
    assert [bar.get_width() for bar in bars.patches] == [0.5, 0.36, 0.1, 0.03, 0.01]
    assert [text.get_text() for text in bars.texts][:2] == ["50.0 %", "36.0 %"]
    heights = [label.get_window_extent().y0 for label in bars.get_yticklabels()]
    assert heights == sorted(heights, reverse=True)


def test_of_fewer_classes_all(draw):
    bars = draw(np.array([[0.25, 0.75]]), NAMES[:2]).axes[1]
    assert words(bars) == ["dog", "cat"]


@pytest.mark.parametrize("queries", [QUERIES, {}])
@pytest.mark.parametrize("label", [None, 0])
def test_the_words_stay_on_the_page_and_off_the_photo(draw, queries, label):
    certain = np.array([[1.0, 0, 0, 0, 0, 0]])
    names = ["Madagascar cat, ring-tailed lemur"] * 6
    figure = draw(certain, names, queries, label)
    photo, bars = figure.axes
    for text in (*bars.get_yticklabels(), *bars.texts, photo.title):
        box = text.get_window_extent()
        assert 0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 and box.y1 <= figure.bbox.y1
    left = min(label.get_window_extent().x0 for label in bars.get_yticklabels())
    assert photo.bbox.x1 < left


def test_several_images_have_no_bars(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    images = np.zeros((2, 28, 28, 3), np.uint8)
    plots.predictions("p.png", images, None, np.tile(PROBABILITIES, (2, 1)), NAMES)
    assert [len(axes.patches) for axes in figures[0].axes] == [0, 0]
    assert len(figures[0].axes) == 2
