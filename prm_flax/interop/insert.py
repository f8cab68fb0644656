"""PRMs put into a trained network, which says the same as before at the start."""

from collections.abc import Collection, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from prm_flax.interop.consumers import consumers
from prm_flax.interop.shapes import LeafPath, flatten, unflatten
from prm_flax.layers.norm import BatchNorm
from prm_flax.prm.linen import PRM

# A PRM's gate at the start, where λ = 0 and ξ = 1.
START = 1 / (1 + np.exp(-1.0))


def insert_prm(
    model: nn.Module,
    variables: Mapping[str, Any],
    image_shape: tuple[int, int, int],
    trained: Collection[LeafPath] = (),
) -> dict[str, Any]:
    """Variables with which fresh PRMs leave a network's outputs as without them.

    At the start a PRM multiplies its input by sigmoid(1), everywhere. The norm before
    it takes that back, and what it gives is unchanged up to rounding::

        sigmoid(1) · (scale / sigmoid(1) · x + bias / sigmoid(1)) = scale · x + bias

    PRM's own parameters stay at their start, where the gate has a slope of 0.197 in λ
    and ξ. A large ξ would hold the gate near 1, too, without a slope to learn with: at
    ξ = 12 it is 6e-6.

    Args:
        model: a network with PRMs after norms, as all `prm_…` of the registry are.
        variables: the trained network's, and those of fresh PRMs.
        image_shape: (h, w, c) of an image it takes.
        trained: paths of leaves; a PRM with one of them is not fresh and stays.

    Returns:
        The variables, the norms before fresh PRMs changed.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> from prm_flax.interop.insert import insert_prm
        >>> from prm_flax.interop.torch import from_state_dict, to_state_dict
        >>> plain, prm = create_model("resnet14"), create_model("prm_resnet14")
        >>> key, x = jax.random.key(0), jnp.ones((1, 32, 32, 3))
        >>> weights = plain.init(key, x)
        >>> names = to_state_dict(plain, weights)
        >>> into = from_state_dict(prm, names, into=prm.init(key, x), new=["prm"])
        >>> into = insert_prm(prm, into, (32, 32, 3))
        >>> before, after = plain.apply(weights, x), prm.apply(into, x)
        >>> bool(jnp.allclose(before, after, atol=1e-5))
        True
    """
    leaves = flatten(variables)
    kept = {path[1:-1] for path in trained}
    for norm, prm in consumers(model, variables, image_shape, _is_norm, PRM):
        if prm.path in kept:
            continue
        for name in ("scale", "bias"):
            path = ("params", *norm, name)
            leaves[path] = _divided(leaves[path])
    return unflatten(leaves)


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, BatchNorm)


def _divided(leaf: Any) -> Any:
    return jnp.array(np.asarray(leaf, np.float64) / START, leaf.dtype)
