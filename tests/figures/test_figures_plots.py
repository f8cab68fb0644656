"""Curves and predictions: what is drawn, and what is refused."""

import os

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from prm_flax.figures import canvas, plots
from prm_flax.figures.gallery import areas

TRAIN = [
    {"step": i, "epoch": i / 50, "loss": 2.0 - i / 100, "top1": i / 200}
    for i in range(150)
]
TEST = [{"epoch": e, "loss": 1.0, "top1": 0.5} for e in (1, 2, 3)]
NAMES = ("cat", "dog", "heron")
SIX = np.arange(6, dtype=np.uint8)[:, None, None, None]
IMAGES = np.broadcast_to(SIX, (6, 28, 28, 1))
PROBABILITIES = np.tile([0.7, 0.2, 0.1], (6, 1))
# Three groups share (1, 2); the fourth is alone, in image i at (5, 6 + i).
QUERIES = {
    "stage1": np.array(
        [[[1.0, 2], [1, 2], [1, 2], [5, 6 + i]] for i in range(6)], float
    ),
    "stage2": np.tile([[3.5, 3.5]], (6, 1, 1)),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, which are not written."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    return figures


def predict(path="p.png", **changed):
    given = {
        "images": IMAGES,
        "labels": [0, 1, 2, 0, 0, 0],
        "probabilities": PROBABILITIES,
        "class_names": NAMES,
        "queries": QUERIES,
    }
    plots.predictions(path, **given | changed)


def test_curves_are_a_png_of_the_same_bytes_every_time(tmp_path):
    one, two = tmp_path / "new" / "a.png", tmp_path / "b.png"
    plots.curves(one, TRAIN, TEST)
    plots.curves(two, TRAIN, TEST)
    assert one.read_bytes() == two.read_bytes()
    assert matplotlib.image.imread(one).shape == (555, 1380, 4)
    assert b"Software" not in one.read_bytes()
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".")]


def test_curves_have_the_training_twice_and_the_test_as_points(drawn):
    plots.curves("c.png", TRAIN, TEST)
    loss, top1 = drawn[0].axes
    assert (loss.get_ylabel(), top1.get_ylabel()) == ("loss", "top-1 accuracy, %")
    raw, smooth, test = loss.get_lines()
    np.testing.assert_allclose(raw.get_ydata(), [row["loss"] for row in TRAIN])
    np.testing.assert_allclose(smooth.get_xdata(), [row["epoch"] for row in TRAIN])
    # A running mean over three places leaves a straight line as it is, but its ends.
    np.testing.assert_allclose(smooth.get_ydata()[1:-1], raw.get_ydata()[1:-1])
    np.testing.assert_allclose(test.get_xydata(), [(1, 1), (2, 1), (3, 1)])
    assert test.get_linestyle() == "None"
    assert [t.get_text() for t in loss.get_legend().get_texts()] == ["train", "test"]


@pytest.mark.parametrize(
    ("train", "test", "lines"),
    [([], [], 0), (TRAIN[:1], [], 1), ([], TEST[:1], 1), (TRAIN[:50], TEST[:1], 2)],
)
def test_short_curves(tmp_path, drawn, train, test, lines):
    plots.curves("c.png", train, test)
    assert len(drawn[0].axes[0].get_lines()) == lines
    canvas.save(drawn[0], tmp_path / "c.png")


def test_the_only_step_is_seen(drawn):
    plots.curves("c.png", TRAIN[:1], [])
    assert drawn[0].axes[0].get_lines()[0].get_marker() == "."


def test_what_is_not_a_number_leaves_a_gap(tmp_path, drawn):
    rows = [dict(row) for row in TRAIN]
    rows[10]["loss"], rows[11]["loss"] = float("nan"), None
    rows[12]["loss"] = float("inf")
    del rows[13]["loss"]
    plots.curves("c.png", rows, [{"epoch": 1, "loss": float("nan"), "top1": 0.3}])
    smooth = drawn[0].axes[0].get_lines()[1].get_ydata()
    assert np.flatnonzero(np.isnan(smooth)).tolist() == [10, 11, 12, 13]
    canvas.save(drawn[0], tmp_path / "c.png")


def test_running_mean_by_hand():
    values = np.array([1.0, 2.0, np.nan, 6.0, 8.0])
    expected = [1.5, 1.5, np.nan, 7.0, 7.0]
    np.testing.assert_allclose(plots.running_mean(values, 3), expected)
    np.testing.assert_allclose(plots.running_mean(values, 1), values)
    assert plots.running_mean(values[:2], 9).tolist() == [1.5, 1.5]


def test_predictions_are_a_png_of_the_same_bytes_every_time(tmp_path):
    predict(tmp_path / "a.png")
    predict(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    # Four images across and two down, and the legend.
    shape = matplotlib.image.imread(tmp_path / "a.png").shape
    assert shape == (150 * 6, 150 * 8.8, 4)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_the_words_stay_on_the_page_and_apart(drawn, n):
    predict(
        images=IMAGES[:n],
        labels=[0] * n,
        probabilities=PROBABILITIES[:n],
        class_names=("Madagascar cat, ring-tailed lemur", "dog", "heron"),
        queries={stage: points[:n] for stage, points in QUERIES.items()},
    )
    (figure,) = drawn
    figure.canvas.draw()
    boxes = []
    for axes in figure.axes:
        for text in (axes.title, *axes.texts):
            box = text.get_window_extent()
            assert box.y1 < figure.bbox.y1
            assert not box.count_overlaps(boxes)
            boxes.append(box)


def test_right_and_wrong_differ_in_colour_mark_and_frame(drawn):
    predict()
    right, wrong = drawn[0].axes[:2]
    assert (right.get_title(), wrong.get_title()) == ("✓ cat 70%", "✗ cat 70%")
    assert [axes.texts[0].get_text() for axes in (right, wrong)] == [
        "true: cat",
        "true: dog",
    ]
    assert right.title.get_color() != wrong.title.get_color()
    frames = [axes.spines["left"].get_linestyle() for axes in (right, wrong)]
    assert frames == ["-", "--"]


def test_without_labels_nothing_is_right_or_wrong(drawn):
    predict(labels=None)
    axes = drawn[0].axes[1]
    assert axes.get_title() == "cat 70%"
    assert not axes.texts


def test_shared_query_points_are_one_larger_marker(drawn):
    predict()
    first, second = drawn[0].axes[4].collections
    # Matplotlib's x is the column.
    assert first.get_offsets().tolist() == [[2, 1], [10, 5]]
    np.testing.assert_allclose(first.get_sizes(), areas(np.array([3, 1])))
    assert second.get_offsets().tolist() == [[3.5, 3.5]]
    assert areas(np.array([64]))[0] == 8 * areas(np.array([1]))[0]
    colors = [tuple(points.get_facecolor()[0][:3]) for points in (first, second)]
    assert colors == [to_rgba("#F0E442")[:3], to_rgba("#009E73")[:3]]


def test_the_legend_has_every_stage_and_the_meaning_of_the_size(drawn):
    predict()
    legend = drawn[0].legends[0]
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["stage1", "stage2", "1 group", "4 groups"]
    sizes = [line.get_markersize() for line in legend.get_lines()[2:]]
    # A marker's size is its side, whose square is the area.
    np.testing.assert_allclose(np.square(sizes), areas([1, 4]))
    predict(queries=None)
    assert not drawn[1].legends


def test_small_images_are_crisp_and_not_stretched_in_brightness(drawn):
    predict()
    predict(images=np.zeros((6, 224, 224, 3), np.uint8))
    small, large = (figure.axes[5].images[0] for figure in drawn)
    assert small.get_interpolation() == "nearest"
    assert small.get_clim() == (0, 255)
    assert small.get_array().shape == (28, 28)
    assert int(small.get_array()[0, 0]) == 5
    assert large.get_interpolation() == "antialiased"
    assert len(drawn[0].axes) == 6


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"images": IMAGES.astype(float)}, "uint8"),
        ({"images": IMAGES[..., 0]}, r"got \(6, 28, 28\)"),
        ({"images": np.zeros((17, 2, 2, 1), np.uint8)}, r"17; take images\[:16\]"),
        ({"class_names": NAMES[:2]}, r"\(6, 2\), got \(6, 3\)"),
        ({"probabilities": 3 * PROBABILITIES}, "jax.nn.softmax"),
        ({"probabilities": PROBABILITIES * [2, -2, 0]}, "jax.nn.softmax"),
        ({"labels": [0, 1]}, "labels must be 6 integers"),
        ({"labels": [0, 1, 2, 3, 0, 0]}, "from 0 to 2"),
        ({"queries": {"stage1": np.zeros((5, 3, 2))}}, r"'stage1'.*\(5, 3, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(changed, words):
    with pytest.raises(ValueError, match=words):
        predict(**changed)


def test_only_png_files_are_written(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png"):
        plots.curves(tmp_path / "c.pdf", TRAIN, TEST)
    assert not os.listdir(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "c.png"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        plots.curves(path, TRAIN, TEST)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["c.png"]
