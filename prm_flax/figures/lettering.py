"""Names in pictures: as they are, on one line, no wider than their place.

What they have of Matplotlib's own markup is not read as such where a text is made with
`parse_math=False`, which goes with each name.
"""

import bisect
import contextlib
import warnings
from collections.abc import Iterator

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from prm_flax.printable import printable

POINTS = 72  # an inch
# What Matplotlib says of letters that its font lacks, and draws as boxes.
NO_GLYPH = "(Glyph .* missing from|Matplotlib currently does not support)"


def fitted(
    name: str, room: float, size: float, weight: str = "normal", form: str = "{}"
) -> str:
    """A name as a picture shows it, cut in its middle where there is no room for it.

    Args:
        name: any string.
        room: inches.
        size: of the letters, in points.
        weight: of the letters.
        form: the words about the name, {} where it stands; they need room too.

    Returns:
        The words and the name, as `printable` shows it.
    """
    shown, font = printable(name), FontProperties(size=size, weight=weight)

    def too_wide(most: int) -> bool:
        return _inches(form.format(shortened(shown, most)), font) > room

    with any_letters():
        if not too_wide(len(shown)):
            return form.format(shown)
        most = bisect.bisect_left(range(1, len(shown)), True, key=too_wide)
    return form.format(shortened(shown, max(most, 1)))


def _inches(words: str, font: FontProperties) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(words, font, ismath=False)
    return width / POINTS


def shortened(name: str, most: int) -> str:
    """The name, of at most `most` letters; an ellipsis stands for what is left out.

    Example:
        >>> shortened("Madagascar cat, ring-tailed lemur", 11)
        'Madag…lemur'
    """
    if len(name) <= most:
        return name
    end = (most - 1) // 2
    start = most - 1 - end
    return f"{name[:start].rstrip()}…{name[len(name) - end :].lstrip()}"


@contextlib.contextmanager
def any_letters() -> Iterator[None]:
    """Letters that the font lacks are drawn as boxes, and no warning says so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", NO_GLYPH, UserWarning)
        yield
