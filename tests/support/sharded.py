"""Batches split over devices along one mesh axis `data`."""

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def split(batch, devices):
    """The leaves of `batch` with their first axis shared among the devices."""
    return jax.device_put(batch, _sharding(devices, PartitionSpec("data")))


def everywhere(tree, devices):
    """The leaves of `tree` whole on every device."""
    return jax.device_put(tree, _sharding(devices, PartitionSpec()))


def _sharding(devices, spec):
    mesh = jax.make_mesh(
        (len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices
    )
    return NamedSharding(mesh, spec)
