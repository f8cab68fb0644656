"""What a run says: once, however many processes it has."""

import jax

from prm_flax.printable import printable


def say(text: str) -> None:
    """Prints a line on the first process, whatever names are in it."""
    if jax.process_index() == 0:
        print(printable(text), flush=True)
