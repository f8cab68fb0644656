"""Which parameters weight decay leaves alone."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from prm_flax import PRMParams
from prm_flax.errors import unknown

# A module's parameters by name. What it is follows from them: a user's model may give
# its modules any name.
Module = Mapping[str, Any]


def _is_prm(module: Module) -> bool:
    return module.keys() == set(PRMParams._fields)


# name -> whether the parameter `leaf` of a module is of this kind.
EXEMPT: MappingProxyType[str, Callable[[str, Module], bool]] = MappingProxyType(
    {
        "norms": lambda leaf, module: "scale" in module,
        "biases": lambda leaf, module: leaf == "bias",
        "prm": lambda leaf, module: _is_prm(module),
        "d_theta": lambda leaf, module: _is_prm(module) and leaf in ("d", "theta"),
        # Kernels (kh, kw, inputs, outputs) whose outputs see one channel each. So does
        # the stem of a network for grey images: it counts as one of them.
        "depthwise": lambda leaf, module: (
            leaf == "kernel" and module[leaf].ndim == 4 and module[leaf].shape[2] == 1
        ),
    }
)


def decay_mask(exempt: tuple[str, ...]) -> Callable[[Any], Any]:
    """Makes optax's mask of the parameters that decay.

    A parameter decays unless it is of a kind that is exempt. None exempt is the way of
    the official ResNet program; norms, biases, prm and depthwise that of the official
    mobile recipe.

    Args:
        exempt: names of `EXEMPT`.

    Returns:
        The function that takes the parameters (nested dictionaries) to the same tree
        of booleans, True for those that decay.

    Raises:
        ValueError: a name is not in `EXEMPT`; the message has the nearest that is.

    Example:
        >>> import jax.numpy as jnp
        >>> from train.decay import decay_mask
        >>> fc = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
        >>> decay_mask(("biases",))({"fc": fc})
        {'fc': {'kernel': True, 'bias': False}}
    """
    for name in exempt:
        if name not in EXEMPT:
            raise unknown("exemption from decay", name, EXEMPT)
    return partial(_decays, exempt=exempt)


def _decays(module: Module, *, exempt: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: (
            _decays(value, exempt=exempt)
            if isinstance(value, Mapping)
            else not any(EXEMPT[kind](name, module) for kind in exempt)
        )
        for name, value in module.items()
    }
