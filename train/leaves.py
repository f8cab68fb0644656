"""The arrays of a tree by name, dtype and shape."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

# Lines of a text that lists arrays.
SHOWN = 8


def differences(saved: Any, wanted: Any) -> str:
    """A line for each array that differs in dtype or shape; "" if none does."""
    have, want = _described(saved), _described(wanted)
    wrong = [
        f"  {name}: saved {have.get(name, 'nothing')}, "
        f"wanted {want.get(name, 'nothing')}"
        for name in sorted(have.keys() | want.keys())
        if have.get(name) != want.get(name)
    ]
    more = [f"  and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    return "\n".join(wrong[:SHOWN] + more)


def _described(tree: Any) -> dict[str, str]:
    """Path of each array -> its dtype and shape."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        dotted(path): f"{np.dtype(leaf.dtype)}{leaf.shape}"
        for path, leaf in leaves
        if hasattr(leaf, "shape")
    }


def dotted(path: Sequence[Any]) -> str:
    """A path of jax.tree_util as text: "params.stem.kernel"."""
    return ".".join(_key(entry) for entry in path)


def _key(entry: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)
