"""What holds of every picture."""

from matplotlib.figure import Figure


def assert_words_apart(figure: Figure, words: int) -> None:
    """So many texts of the first axes are on the page, none over another."""
    renderer = figure.canvas.get_renderer()  # pyright: ignore[reportAttributeAccessIssue]
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) == words
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1
        assert figure.bbox.y0 < box.y0 and box.y1 < figure.bbox.y1
        assert not box.count_overlaps(boxes[:i])
