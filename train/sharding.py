"""The mesh and every sharding: images over the axis `data`, the rest everywhere."""

import functools
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from train.draws import evaluate

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


def put_shares(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's images as pmap takes them: (devices here, images of one, …)."""
    here = make_mesh(mesh.local_devices)
    return {
        name: jax.device_put(
            array.reshape(here.size, -1, *array.shape[1:]), split(here)
        )
        for name, array in batch.items()
    }


def put_state(mesh: Mesh, state: Any) -> Any:
    """A tree of arrays that every process has, whole on every device.

    They go there from the host: of an array that lies on a device, `jax.device_put`
    makes one that cannot be saved where each of several processes has one device.
    """
    whole = replicated(mesh)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(whole, np.asarray(leaf)),
        state,
    )


def make_init(mesh: Mesh, init: Callable[[], Any]) -> Callable[[], Any]:
    """`init() -> state`, whole on every device; every process draws all of it."""
    return lambda: put_state(mesh, evaluate(init))


def jit_train_step(mesh: Mesh, step: Callable[[Any, Any], Any]):
    """`step(state, batch) -> state`; the old state's memory becomes the new one's."""
    return _jit_step(mesh, step, donate_argnums=0)


def pmap_train_step(mesh: Mesh, step: Callable[..., Any]):
    """The same under pmap, for batches of `put_shares`; the state is as under jit."""
    mapped = jax.pmap(
        functools.partial(step, axis=AXIS),
        AXIS,
        in_axes=(None, 0),
        out_axes=None,
        devices=list(mesh.local_devices) if jax.process_count() == 1 else None,
        donate_argnums=0,
    )

    def call(state, batch):
        return jax.tree.map(functools.partial(_on_all, mesh), mapped(state, batch))

    return call


def _on_all(mesh: Mesh, array: jax.Array) -> jax.Array:
    """What is whole on the devices here is so on all others, too."""
    return jax.make_array_from_single_device_arrays(
        array.shape, replicated(mesh), [s.data for s in array.addressable_shards]
    )


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
    return InMesh(mesh, jitted)


class InMesh:
    """A jitted function, under the mesh that hand-written kernels ask for in tracing.

    Args:
        mesh: of the function's shardings.
        jitted: what `jax.jit` returned.
    """

    def __init__(self, mesh: Mesh, jitted: Any):
        self.mesh, self.jitted = mesh, jitted

    def __call__(self, *args: Any) -> Any:
        """Runs it."""
        with jax.set_mesh(self.mesh):
            return self.jitted(*args)

    def trace(self, *args: Any) -> Any:
        """Its program for arguments of these shapes, see `jax.stages.Traced`."""
        with jax.set_mesh(self.mesh):
            return self.jitted.trace(*args)


class Parallel(NamedTuple):
    """How devices share a training step.

    Attributes:
        train_step: `(mesh, step) -> (state, batch) -> state`.
        put: `(mesh, this process's images) -> the batch` that the step takes.
    """

    train_step: Callable[[Mesh, Callable[..., Any]], Callable[[Any, Any], Any]]
    put: Callable[[Mesh, dict[str, np.ndarray]], dict[str, jax.Array]]


PARALLEL: MappingProxyType[str, Parallel] = MappingProxyType(
    {
        "jit": Parallel(jit_train_step, put_batch),
        "pmap": Parallel(pmap_train_step, put_shares),
    }
)
