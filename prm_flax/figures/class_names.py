"""Names of classes, from a file."""

import json
from collections.abc import Sequence
from pathlib import Path


def read_names(path: Path | None, classes: int, known: Sequence[str] = ()) -> list[str]:
    """Reads the names of classes, or numbers them.

    Args:
        path: a line a name; or, where it ends in .json, a list of names or an object
            from index to name. Of several names in one, parted by commas, the first
            is taken, as ImageNet's have. None: those that are known.
        classes: how many there must be.
        known: names in the file of the weights; if none are, "class 0" and so on.

    Raises:
        ValueError: it is none of these, or has another number of names.

    Example:
        >>> read_names(None, 2)
        ['class 0', 'class 1']
    """
    if path is None:
        return list(known) or [f"class {k}" for k in range(classes)]
    rule = f"--class-names must have {classes} names, a line each or as JSON: {path}"
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else _lines(text)
        if isinstance(found, dict):
            found = [found[str(k)] for k in range(len(found))]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{rule}: {error!r}.") from error
    if not isinstance(found, list) or len(found) != classes:
        count = len(found) if isinstance(found, list) else "none"
        raise ValueError(
            f"{rule} has {count}. Is it of the data that the network was trained on?"
        )
    return [str(name).partition(",")[0] for name in found]


def _lines(text: str) -> list[str]:
    """Of the text: a name may have what `splitlines` takes for the end of one."""
    return text.removesuffix("\n").split("\n") if text else []
