"""One way to say that a name is not known."""

import difflib
from collections.abc import Iterable

from prm_flax.printable import printable


def unknown(kind: str, given: object, known: Iterable[str]) -> ValueError:
    """A ValueError that names the nearest known name, and all of them.

    Args:
        kind: what the name stands for, such as "similarity".
        given: the name that came.
        known: the names that exist.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> unknown("similarity", "dott", ["dot", "l1"])
        ValueError("Unknown similarity 'dott'. Did you mean 'dot'? Known: dot, l1.")
    """
    names = list(known)
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(map(printable, names))
    return ValueError(f"Unknown {kind} {given!r}.{hint} Known: {shown}.")
