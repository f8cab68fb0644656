"""What may fail and cost nothing but itself."""

from collections.abc import Callable

from prm_flax.printable import printable
from train.distributed import say


def failure_of(name: str, draw: Callable[[], object]) -> str:
    """Draws a picture; where that fails, whatever the reason, it is said.

    Args:
        name: of the picture.
        draw: draws and writes it.

    Returns:
        Why there is no picture, in a line; "" if there is one.
    """
    try:
        draw()
    except Exception as error:
        kind, text = type(error).__name__, str(error)
        why = printable(f"{kind}: {text}" if text else kind)
        say(f"{name} could not be drawn: {why}")
        return why
    return ""
