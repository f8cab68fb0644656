"""How much a PRM's query counts beside its context: the rates of Figure 3."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from prm_flax.prm.functional import PRMParams

LEAVES = frozenset(PRMParams._fields)


def contribution_rates(variables: Mapping[str, Any]) -> dict[str, float]:
    """The share of the query's weight in each PRM of a tree of parameters.

    Over the g groups of a PRM, a group with α = β = 0 counting 0::

        rate = 1/g Σ_k |α_k| / (|α_k| + |β_k|)

    Args:
        variables: a network's variables, its parameters alone or a part of them, in
            nested mappings. A PRM is where the six leaves of `PRMParams` are together.

    Returns:
        The PRM's path such as "layer1_0/prm" -> its rate in [0, 1]; sorted by name,
        numbers in names by value, which in the networks of the registry is the order
        of the computation. Empty where there is no PRM.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> from prm_flax.figures.maps import contribution_rates
        >>> model = create_model("prm_resnet14", groups=8)
        >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
        >>> contribution_rates(variables)["layer1_0/prm"]  # α starts at 0
        0.0

    Reference: Ma & Fu, IJCAI 2020, section 4.2.
    """
    leaves = flatten_dict(variables.get("params", variables))
    found: dict[tuple[str, ...], set[str]] = {}
    for *parent, leaf in leaves:
        found.setdefault(tuple(map(str, parent)), set()).add(leaf)
    places = [parent for parent, names in found.items() if names >= LEAVES]
    return {
        "/".join(place) or "prm": _rate(
            leaves[(*place, "alpha")], leaves[(*place, "beta")]
        )
        for place in sorted(places, key=_natural)
    }


def _rate(alpha, beta) -> float:
    # float64: the sum of two large float32 would be infinite.
    alpha, beta = (np.abs(np.asarray(leaf, np.float64)) for leaf in (alpha, beta))
    total = alpha + beta
    return float(np.mean(alpha / np.where(total == 0, 1.0, total)))


def _natural(path: tuple[str, ...]) -> list[list[tuple[int, str]]]:
    """A key that sorts layer1_2 before layer1_10."""
    return [
        [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
        for parts in (re.findall(r"\d+|\D+", name) for name in path)
    ]
