"""PyTorch's names and layouts of this library's leaves: one table.

A module's path gives PyTorch's name with "." between its parts and for every "_" before
a digit: layer1_0/downsample_0 is layer1.0.downsample.0. The leaf's name and number of
axes give the rest.
"""

import re
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from prm_flax.interop.report import Shape, report
from prm_flax.interop.shapes import LeafPath, Shapes


class Layout(NamedTuple):
    """How PyTorch names a leaf and lays it out.

    Attributes:
        name: the last part of PyTorch's name.
        axes: PyTorch's axes, as numbers of ours; None if the leaf is reshaped.
        shape: the shape to give it, for leaves with axes of length one around.
        merge: whether PyTorch has all axes but the first as one.
    """

    name: str
    axes: tuple[int, ...] | None = None
    shape: Shape = (-1,)
    merge: bool = False

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Our array in PyTorch's layout."""
        if self.axes is None:
            return array.reshape(self.shape)
        result = array.transpose(self.axes)
        return result.reshape(len(result), -1) if self.merge else result

    def torch_shape(self, shape: Shape) -> Shape:
        """Shape in PyTorch's layout, without an array."""
        return self.to_torch(np.broadcast_to(np.int8(0), shape)).shape

    def from_torch(self, array: np.ndarray, shape: Shape) -> np.ndarray:
        """PyTorch's array in our layout, in which it has the given shape."""
        if self.axes is None:
            return array.reshape(shape)
        if self.merge:
            array = array.reshape([shape[axis] for axis in self.axes])
        return array.transpose(np.argsort(self.axes))


# (leaf, number of axes) -> PyTorch's. The order is that of PyTorch's state dicts.
LAYOUTS = MappingProxyType(
    {
        ("kernel", 4): Layout("weight", axes=(3, 2, 0, 1)),  # h w i/g o -> o i/g h w
        ("kernel", 2): Layout("weight", axes=(1, 0)),  # i o -> o i
        # position i o -> o (i position): a dense layer on a flattened (c, y, x).
        ("kernel", 3): Layout("weight", axes=(2, 1, 0), merge=True),
        ("scale", 1): Layout("weight"),
        ("scale", 3): Layout("weight", axes=(2, 0, 1)),  # h w c -> c h w
        ("lam", 1): Layout("weight", shape=(1, -1, 1, 1)),
        ("bias", 1): Layout("bias"),
        ("bias", 3): Layout("bias", axes=(2, 0, 1)),
        ("xi", 1): Layout("bias", shape=(1, -1, 1, 1)),
        ("mean", 1): Layout("running_mean"),
        ("var", 1): Layout("running_var"),
        ("beta", 1): Layout("one", shape=(1, -1, 1)),
        ("alpha", 1): Layout("zero", shape=(1, -1, 1)),
        ("theta", 1): Layout("theta", shape=(1, -1, 1, 1)),
        ("d", 0): Layout("scale", shape=(1,)),
    }
)
COUNTER = "num_batches_tracked"


class Entry(NamedTuple):
    """One leaf of a model: its path and shape here, its layout in PyTorch."""

    path: LeafPath
    shape: Shape
    layout: Layout

    @property
    def torch_shape(self) -> Shape:
        """Shape in PyTorch's layout."""
        return self.layout.torch_shape(self.shape)


def module_name(path: LeafPath) -> str:
    """PyTorch's name of the module that has a leaf.

    Example:
        >>> module_name(("params", "layer1_0", "downsample_0", "kernel"))
        'layer1.0.downsample.0'
    """
    return ".".join(re.sub(r"_(?=\d)", ".", part) for part in path[1:-1])


def torch_entries(shapes: Shapes) -> dict[str, Entry]:
    """PyTorch's names of a model's leaves.

    Args:
        shapes: arrays or abstract arrays by path, in the order the model makes them.

    Returns:
        Entries by PyTorch's name: modules in the model's order, each module's leaves
        in PyTorch's.

    Raises:
        ValueError: leaves that the table does not know, or two with one name.

    Example:
        >>> entries = torch_entries({("params", "fc", "kernel"): np.ones((16, 10))})
        >>> entries["fc.weight"].torch_shape
        (10, 16)
    """
    unknown = [path for path in shapes if _key(path, shapes) not in LAYOUTS]
    _refuse(unknown, "to be in PyTorch's names a leaf must be in names.LAYOUTS")
    entries: dict[str, Entry] = {}
    twice = []
    for path in _in_torch_order(shapes):
        layout = LAYOUTS[_key(path, shapes)]
        name = ".".join(filter(None, [module_name(path), layout.name]))
        twice += [path] if name in entries else []
        entries[name] = Entry(path, tuple(shapes[path].shape), layout)
    _refuse(twice, "two leaves must not have one name in PyTorch")
    return entries


def _key(path: LeafPath, shapes: Shapes) -> tuple[str, int]:
    return path[-1], len(shapes[path].shape)


def _in_torch_order(shapes: Shapes) -> list[LeafPath]:
    modules = {
        module: i for i, module in enumerate(dict.fromkeys(p[1:-1] for p in shapes))
    }
    leaves = {key: i for i, key in enumerate(LAYOUTS)}
    return sorted(shapes, key=lambda p: (modules[p[1:-1]], leaves[_key(p, shapes)]))


def _refuse(paths: list[LeafPath], rule: str) -> None:
    if lines := ["/".join(path) for path in paths]:
        raise ValueError(report(rule, lines, "Only the library's networks have names."))
