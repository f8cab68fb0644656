"""How devices share arrays; on meshes of explicit axes their types say it."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec, auto_axes


def shared_by(x: Any) -> PartitionSpec:
    """The mesh axes that each axis of x is split over, None where it is whole.

    All are None on meshes of other kinds and inside `jax.shard_map`.
    """
    return jax.typeof(x).sharding.spec


def split_axes(x: Any) -> list[tuple[str, ...]]:
    """The mesh axes that split each axis of x, () where it is whole."""
    named = shared_by(x)
    return [(axes,) if isinstance(axes, str) else (axes or ()) for axes in named]


def splits_positions(x: Any) -> bool:
    """Whether devices share the rows or the columns of x (..., h, w, c)."""
    return any(shared_by(x)[-3:-1])


def on_whole_maps(function: Callable, x: Any, specs: Any = None) -> Callable:
    """`function`, or where devices share x's positions, one that XLA partitions.

    Operations that move positions (a reshape of rows and columns to one axis, a choice
    of some of them) have no sharding rule. There the types of `function`'s arrays say
    nothing and XLA finds who sends what to whom; those of its results say it again.

    Args:
        function: (x, …) -> results.
        x: (..., h, w, C) features.
        specs: how the results are split there; by default one, split as x.
    """
    if not splits_positions(x):
        return function
    mesh = jax.typeof(x).sharding.mesh
    specs = shared_by(x) if specs is None else specs
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    return auto_axes(function, axes=mesh.explicit_axes, out_sharding=shardings)


def may_have_idle_axes() -> bool:
    """Whether the mesh that is set has several auto axes: no type tells their use."""
    mesh = jax.sharding.get_abstract_mesh()
    return sum(mesh.shape[axis] > 1 for axis in mesh.auto_axes) > 1


def without_idle_axes(function: Callable, *arrays: Any) -> Any:
    """`function(*arrays)`, where XLA sees the mesh axes alone that they are split by.

    XLA's partitioner multiplies the gradient of a convolution's kernel by the size of
    an axis that neither the image nor the kernel is split by, if it has to add over
    another: over a batch for convolutions in groups, over rows or columns for any. On
    each device along such an axis the same is computed: it need not know of it.

    Args:
        function: of the arrays, and split by no other axis than they are.
        *arrays: features and parameters.
    """
    mesh = jax.typeof(arrays[0]).sharding.mesh
    busy = {axis for x in arrays for axes in split_axes(x) for axis in axes}
    idle = set(mesh.explicit_axes) - busy
    if not busy or not idle:
        return function(*arrays)
    whole: Any = PartitionSpec()
    return jax.shard_map(
        function, in_specs=whole, out_specs=whole, axis_names=idle, mesh=mesh
    )(*arrays)
