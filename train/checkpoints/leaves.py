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


def different(one: Any, other: Any) -> list[str]:
    """The names of the arrays whose bits differ between two trees of one structure.

    Of arrays on several devices or processes those parts are compared that lie here.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(one)
    pairs = zip(leaves, jax.tree.leaves(other), strict=True)
    return [dotted(path) for (path, a), b in pairs if _bits(a) != _bits(b)]


def _bits(array: jax.Array) -> list[bytes]:
    # Whole on every device: one copy is enough.
    shards = array.addressable_shards
    parts = shards[:1] if array.is_fully_replicated else shards
    return [np.asarray(part.data).tobytes() for part in parts]


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
    return jax.tree_util.keystr(tuple(path), simple=True, separator=".")
