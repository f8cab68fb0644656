"""A state dict held against a model: all failures in one error."""

from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from prm_flax.interop.kinds import kind_of
from prm_flax.interop.names import COUNTER, Entry, torch_entries
from prm_flax.interop.report import MismatchError, differences
from prm_flax.interop.shapes import Shapes, Template

_ADVICE = (
    "Check the model's name, num_classes and options. Parts that should start fresh go "
    'in new=, such as new=("prm", "fc"), with into=model.init(...).'
)
# Of what wraps a network in PyTorch: DataParallel and averages, compile, programs.
WRAPPERS = ("module.", "_orig_mod.", "model.")


def clean(
    state_dict: Mapping[str, ArrayLike], own: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Arrays without counters, other scalars, and the prefixes of wrappers.

    Args:
        state_dict: arrays by name. A prefix is dropped if all names have it, those of
            scalars apart.
        own: the network's names, for prefixes and scalars that are its own.
    """
    arrays = {name: np.asarray(array) for name, array in state_dict.items()}
    prefix = _wrapping([n for n, a in arrays.items() if _is_weight(n, a, own)], own)
    named = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return {name: a for name, a in named.items() if _is_weight(name, a, own)}


def _is_weight(name: str, array: np.ndarray, own: Collection[str]) -> bool:
    is_counter = name.rpartition(".")[2] == COUNTER
    return name in own or not (is_counter or array.ndim == 0)


def _wrapping(names: Collection[str], own: Collection[str]) -> str:
    """The prefixes of wrappers, one within the other, that all names have."""
    found = ""
    usual = [w for w in WRAPPERS if not any(name.startswith(w) for name in own)]
    while names:
        more = [found + w for w in usual if all(n.startswith(found + w) for n in names)]
        if not more:
            break
        found = more[0]
    return found


def expected_shapes(template: Template, arrays: Mapping[str, np.ndarray]) -> Shapes:
    """The model's shapes, for the input channels of PyTorch's first convolution."""
    stem = {template.stem: template.shapes[template.stem]}
    [(name, entry)] = torch_entries(stem).items()
    array = arrays.get(name)
    if array is None or array.ndim != len(entry.shape):
        return template.shapes
    return template.for_stem(entry.layout.from_torch(array, entry.shape).shape)


def require_match(
    entries: Mapping[str, Entry], arrays: Mapping[str, np.ndarray]
) -> None:
    """Raises a MismatchError if a name does not fit, or is not of numbers."""
    expected = {name: entry.torch_shape for name, entry in entries.items()}
    received = {name: array.shape for name, array in arrays.items()}
    problems = differences(expected, received)
    problems += [
        (name, f"not real numbers: {name}, received dtype {array.dtype}")
        for name, array in arrays.items()
        if not _is_real(array)
    ]
    if problems:
        rule, kind = "a state dict must fit the model", kind_of(expected, received)
        raise MismatchError(rule, problems, _ADVICE, kind)


def _is_real(array: np.ndarray) -> bool:
    kinds = (jnp.floating, jnp.integer)
    return any(jnp.issubdtype(array.dtype, kind) for kind in kinds)


def to_leaf(array: np.ndarray, entry: Entry, shapes: Shapes) -> jax.Array:
    """PyTorch's array as a leaf: its own floating dtype, or the leaf's for integers."""
    if jnp.issubdtype(array.dtype, jnp.integer):
        array = array.astype(shapes[entry.path].dtype)
    # A copy: on a CPU jnp.asarray may share NumPy's memory, which can change later.
    return jnp.array(entry.layout.from_torch(array, entry.shape))
