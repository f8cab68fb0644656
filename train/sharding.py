"""The mesh and every sharding: images over the axis `data`, the rest everywhere."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """One axis, `data`, over the given devices or all there are."""
    devices = jax.devices() if devices is None else devices
    shape = (len(devices),)
    return jax.make_mesh(shape, (AXIS,), (AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The first axis shared among the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's images of a batch, as part of the arrays of the whole batch."""
    sharding = split(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, array)
        for name, array in batch.items()
    }


def put_state(mesh: Mesh, state: Any) -> Any:
    """A tree of arrays, whole on every device."""
    return jax.device_put(state, replicated(mesh))


def jit_init(mesh: Mesh, init: Callable[[], Any]) -> Callable[[], Any]:
    """`init() -> state`, whole on every device from the start."""
    return _in_mesh(mesh, jax.jit(init, out_shardings=replicated(mesh)))


def jit_train_step(mesh: Mesh, step: Callable[[Any, Any], Any]):
    """`step(state, batch) -> state`; the old state's memory becomes the new one's."""
    return _jit_step(mesh, step, donate_argnums=0)


def jit_eval_step(mesh: Mesh, step: Callable[[Any, Any], Any]):
    """`step(state, batch) -> results`, whole on every device."""
    return _jit_step(mesh, step)


def _jit_step(mesh: Mesh, step: Callable[[Any, Any], Any], **options: Any):
    """The state on every device, the batch shared, the results on every device."""
    jitted = jax.jit(
        step,
        in_shardings=(replicated(mesh), split(mesh)),
        out_shardings=replicated(mesh),
        **options,
    )
    return _in_mesh(mesh, jitted)


def _in_mesh(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Calls it under the mesh, which hand-written kernels ask for while tracing."""

    def call(*args):
        with jax.set_mesh(mesh):
            return function(*args)

    return call
