"""The parameters of a network, as a table and in a line."""

from typing import Any

import jax
from clu import parameter_overview


def table(params: Any) -> str:
    """Name, shape, type and size of every parameter."""
    return parameter_overview.get_parameter_overview(params, include_stats=False)


def line(params: Any) -> str:
    """Trainable numbers of each module of the network."""
    sizes = {name: _size(tree) for name, tree in params.items()}
    return ", ".join(f"{name} {size:,}" for name, size in sizes.items())


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
