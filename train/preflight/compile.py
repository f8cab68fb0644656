"""Compiles the real training step for chips that are not there."""

import dataclasses
import importlib.util
import os
import re
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from train import sharding
from train.config import Config
from train.experiment import Experiment, assemble, check_options, kind_of
from train.preflight.chips import Topology
from train.preflight.flops import flops
from train.validate import check_images

# Of the compilers: ask no cloud service which chips are here, check for no CUDA.
ENVIRONMENT = MappingProxyType(
    {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    }
)
# Kind of chip -> the package that holds its compiler.
COMPILERS = MappingProxyType({"tpu": "libtpu", "cuda": "jax_plugins.xla_cuda12"})

# How a TPU's compiler says what it would have needed, in either of two messages.
NEEDED = re.compile(r"(?:Used |HLO temporaries \()([\d.]+)([KMGT])\)?.*(?i:hbm)")
UNITS = MappingProxyType({"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40})


class Build(NamedTuple):
    """A step, compiled or found too large.

    Attributes:
        flops: of one device, by `train.preflight.flops`.
        steps_per_epoch: whole batches in one pass over the training images.
        compiled: the program; None if its compiler found no room for it.
        needed_bytes: None, or what the compiler says it would have needed.
    """

    flops: int
    steps_per_epoch: int
    compiled: Any
    needed_bytes: int | None = None


def prepare(topology: Topology) -> None:
    """Sets the environment for the compilers; before jax looks for any device.

    Raises:
        ValueError: the compiler of these chips is not installed.
    """
    package = COMPILERS[topology.chip.kind]
    if not _installed(package):
        raise ValueError(
            f"compiling for {topology.name} needs the package {package}, which is not "
            "installed: pip install '.[preflight]'."
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # The chips that are here, if any, are left alone.
    jax.config.update("jax_platforms", "cpu")
    # A program read from the cache has no text to count in.
    jax.config.update("jax_enable_compilation_cache", False)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package's parent
        return False


def build_step(config: Config, topology: Topology, per_device_batch: int) -> Build:
    """Traces and compiles the step that `fit` would run.

    Raises:
        ValueError: the config is wrong, or the batch does not fit its other options.
    """
    config = with_batch(config, topology.devices, per_device_batch)
    if config.parallel != "jit":
        raise ValueError(
            f"preflight compiles the step under jit, got parallel {config.parallel}: "
            "--parallel jit. Both compute the same."
        )
    check_options(config, topology.devices)
    mesh = sharding.make_mesh(devices_of(topology))
    images = kind_of(config).fake_input(config)
    check_images(config, images.train_images, images.epoch_batches)
    experiment = assemble(config, mesh, images)
    batch = _batch(experiment)
    step: Any = experiment.train_step
    traced = step.trace(experiment.abstract_state, batch)
    compiled, needed = compile_traced(mesh, traced)
    return Build(
        flops=flops(traced.jaxpr.jaxpr) // topology.devices,
        steps_per_epoch=experiment.steps_per_epoch,
        compiled=compiled,
        needed_bytes=needed,
    )


def with_batch(config: Config, devices: int, per_device_batch: int) -> Config:
    """The config for this many images a device, in evaluation too."""
    images = devices * per_device_batch
    return dataclasses.replace(config, batch_size=images, eval_batch_size=images)


def devices_of(topology: Topology) -> list[Any]:
    """The devices of a topology, none of which need be here."""
    chip, shape = topology.chip, "x".join(map(str, topology.shape))
    if chip.kind == "tpu":
        options = {"topology_name": f"{topology.name}:{shape}"}
        options |= {"chip_config_name": chip.mode} if chip.mode else {}
    else:  # eight to a machine, as they are sold
        here = min(8, topology.devices)
        shape = f"1x{topology.devices // here}x{here}"
        options = {"topology_name": "", "topology": shape, "target_config": chip.target}
    return topologies.get_topology_desc(platform=chip.kind, **options).devices


def _batch(experiment: Experiment) -> dict[str, Any]:
    """The shapes of a training batch, shared among the devices."""
    share = sharding.split(experiment.mesh)
    shapes = experiment.task.shapes(experiment.config.batch_size)
    return {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=share)
        for name, array in shapes.items()
    }


def compile_traced(mesh: Any, traced: Any) -> tuple[Any, int | None]:
    """The program, or None and the bytes it would need."""
    try:
        with jax.set_mesh(mesh):
            return traced.lower().compile(), None
    except jax.errors.JaxRuntimeError as error:
        needed = NEEDED.search(str(error))
        if "RESOURCE_EXHAUSTED" not in str(error) or needed is None:
            raise
        return None, int(float(needed[1]) * UNITS[needed[2]])
