"""A state dict held against a model: all failures in one error."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from prm_flax.interop.names import COUNTER, Entry, torch_entries
from prm_flax.interop.report import differences, report
from prm_flax.interop.shapes import Shapes, make_template

_ADVICE = (
    "Check the model's name, num_classes and options. Parts that should start fresh go "
    'in new=, such as new=("prm", "fc"), with into=model.init(...).'
)


class MismatchError(ValueError):
    """A state dict that does not fit a model.

    Attributes:
        problems: a line for each name that does not fit.
        names: these names.
    """

    def __init__(self, problems: list[str], names: list[str]):
        super().__init__(report("a state dict must fit the model", problems, _ADVICE))
        self.problems, self.names = problems, names


def clean(state_dict: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Arrays without batch counters, and without a prefix "module." of all names."""
    prefix = "module."
    drop = len(prefix) if all(name.startswith(prefix) for name in state_dict) else 0
    named = {name[drop:]: array for name, array in state_dict.items()}
    return {
        name: np.asarray(array)
        for name, array in named.items()
        if name.rpartition(".")[2] != COUNTER
    }


def expected_shapes(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> Shapes:
    """The model's shapes, for the input channels of PyTorch's first convolution."""
    template = make_template(model)
    stem = {template.stem: template.shapes[template.stem]}
    [(name, entry)] = torch_entries(stem).items()
    array = arrays.get(name)
    if array is None or array.ndim != len(entry.shape):
        return template.shapes
    return template.for_stem(entry.layout.from_torch(array, entry.shape).shape)


def has_part(name: str, parts: tuple[str, ...]) -> bool:
    """Whether a dotted name has one of the parts."""
    return any(f".{part}." in f".{name}." for part in parts)


def require_match(
    entries: Mapping[str, Entry], arrays: Mapping[str, np.ndarray]
) -> None:
    """Raises a MismatchError if a name does not fit, or is not of numbers."""
    expected = {name: entry.torch_shape for name, entry in entries.items()}
    received = {name: array.shape for name, array in arrays.items()}
    unreal = [name for name, array in arrays.items() if not _is_real(array)]
    problems = differences(expected, received)
    for name in unreal:
        dtype = arrays[name].dtype
        problems.append(f"not real numbers: {name}, received dtype {dtype}")
    if problems:
        every = expected | received
        differ = [n for n in every if expected.get(n) != received.get(n)]
        raise MismatchError(problems, list(dict.fromkeys(differ + unreal)))


def _is_real(array: np.ndarray) -> bool:
    kinds = (jnp.floating, jnp.integer)
    return any(jnp.issubdtype(array.dtype, kind) for kind in kinds)


def to_leaf(array: np.ndarray, entry: Entry, shapes: Shapes) -> jax.Array:
    """PyTorch's array as a leaf: its own floating dtype, or the leaf's for integers."""
    if jnp.issubdtype(array.dtype, jnp.integer):
        array = array.astype(shapes[entry.path].dtype)
    # A copy: on a CPU jnp.asarray may share NumPy's memory, which can change later.
    return jnp.array(entry.layout.from_torch(array, entry.shape))
