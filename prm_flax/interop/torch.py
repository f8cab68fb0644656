"""Weights of PyTorch programs: `from_state_dict`, `to_state_dict`, `read_pth`.

The names are those of the PRM authors' program and of torchvision, a detector's those
of mmdetection; timm's, and torchvision's of RetinaNet, are taken, too. PyTorch itself
is not needed: a state dict here is a dictionary of NumPy arrays.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from numpy.typing import ArrayLike

from prm_flax.errors import unknown
from prm_flax.interop.detectors import NAMES, for_detector
from prm_flax.interop.kinds import has_part
from prm_flax.interop.matching import clean, expected_shapes, require_match, to_leaf
from prm_flax.interop.names import COUNTER, torch_entries
from prm_flax.interop.pth import read_pth as read_pth
from prm_flax.interop.report import MismatchError as MismatchError
from prm_flax.interop.shapes import (
    Shapes,
    flatten,
    make_template,
    require_fit,
    unflatten,
)


def from_state_dict(
    model: nn.Module,
    state_dict: Mapping[str, ArrayLike],
    *,
    into: Mapping[str, Any] | None = None,
    new: Iterable[str] = (),
) -> dict[str, Any]:
    """Variables of a model from PyTorch's weights.

    Batch counters (num_batches_tracked) and all scalars that are none of the network's
    weights are left out. Prefixes of wrappers ("module.", "_orig_mod.", "model.", one
    within the other) are dropped if every name but theirs has them, and the network
    does not. Floating arrays keep their dtype (float64 becomes float32 unless jax's x64
    is on), integers take the parameters'.

    Args:
        model: a network of `create_model` or `create_detector`, which also takes the
            weights of its backbone alone: the other parts go in `new`.
        state_dict: arrays by PyTorch's names: convolutions (o, i/groups, h, w), dense
            layers (o, i).
        into: fresh variables, from `model.init`. The input channels are taken from
            them, if given, otherwise from the first convolution's weight.
        new: parts of names, such as "prm" or "fc", whose arrays come from `into`;
            their entries in `state_dict` are ignored. Parts no name has do nothing.

    Returns:
        {"params": …, "batch_stats": …}.

    Raises:
        MismatchError: a ValueError. Other names are missing, unexpected, misshapen or
            not numbers, or `into` does not fit the model: its text has the kind of
            mismatch and the first five, its `problems` all.
        ValueError: `new` lacks `into`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> from prm_flax.interop.torch import from_state_dict, to_state_dict
        >>> key, image = jax.random.key(0), jnp.ones((1, 28, 28, 1))
        >>> plain, prm = create_model("resnet14"), create_model("prm_resnet14")
        >>> weights = to_state_dict(plain, plain.init(key, image))
        >>> fresh = prm.init(key, image)
        >>> variables = from_state_dict(prm, weights, into=fresh, new=("prm",))
        >>> sorted(variables)
        ['batch_stats', 'params']
    """
    parts = (new,) if isinstance(new, str) else tuple(new)
    if parts and into is None:
        raise ValueError(
            f"new={parts} needs into=, the fresh variables the new parts come from: "
            "into=model.init(key, image)."
        )
    if into is None:
        fresh, template = {}, make_template(model)
        arrays = _by_own_names(model, state_dict, template.shapes)
        shapes = expected_shapes(template, arrays)
    else:
        fresh = flatten(into)
        shapes = require_fit(model, fresh, "into=")
        arrays = _by_own_names(model, state_dict, shapes)
    entries = torch_entries(shapes)
    kept = {name: e for name, e in entries.items() if not has_part(name, parts)}
    given = {name: a for name, a in arrays.items() if not has_part(name, parts)}
    require_match(kept, given)
    taken = {
        entry.path: to_leaf(given[name], entry, shapes) for name, entry in kept.items()
    }
    return unflatten({p: taken[p] if p in taken else fresh[p] for p in shapes})


def _by_own_names(
    model: nn.Module, state_dict: Mapping[str, ArrayLike], shapes: Shapes
) -> dict[str, np.ndarray]:
    """The arrays, by a network's names where a program has others for them."""
    own = torch_entries(shapes)
    return for_detector(model, clean(state_dict, own), own)


def to_state_dict(
    model: nn.Module,
    variables: Mapping[str, Any],
    *,
    counters: bool = False,
    names: str = "own",
) -> dict[str, np.ndarray]:
    """PyTorch's weights of a model: the inverse of `from_state_dict`.

    Args:
        model: a network of `create_model`.
        variables: its "params" and "batch_stats".
        counters: add num_batches_tracked = 0 to every norm, as PyTorch's strict
            loading wants.
        names: "own", those of `from_state_dict`; "torchvision" for its RetinaNet's.

    Returns:
        Contiguous arrays by PyTorch's names, of the variables' dtypes.

    Raises:
        MismatchError: a ValueError. The variables are not the model's; its text has
            the first five differences, its `problems` all.
        ValueError: unknown names, or a network that has none of that kind.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> from prm_flax.interop.torch import to_state_dict
        >>> model = create_model("resnet14")
        >>> variables = model.init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> to_state_dict(model, variables)["layer2.0.downsample.0.weight"].shape
        (32, 16, 1, 1)
    """
    if names not in NAMES:
        raise unknown("set of names", names, NAMES)
    leaves = flatten(variables)
    shapes = require_fit(model, leaves, "the variables")
    result: dict[str, np.ndarray] = {}
    for name, entry in torch_entries(shapes).items():
        array = np.asarray(leaves[entry.path])
        result[name] = np.array(entry.layout.to_torch(array), order="C")
        if counters and entry.layout.name == "running_var":
            counter = f"{name.removesuffix(entry.layout.name)}{COUNTER}"
            result[counter] = np.zeros((), np.int64)
    return {NAMES[names](name): array for name, array in result.items()}
