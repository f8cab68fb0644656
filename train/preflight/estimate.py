"""A compiled step against its chips: memory, and the least time it can take."""

from dataclasses import dataclass
from typing import Any

from train.preflight import hlo_cost
from train.preflight.chips import Topology
from train.preflight.compile import Build
from train.preflight.hlo_text import parse


@dataclass(frozen=True)
class Memory:
    """Bytes of one device while the step runs.

    Attributes:
        arguments: the state, which becomes the new one, and the images.
        temporaries: activations above all.
        program: the instructions.
    """

    arguments: int
    temporaries: int
    program: int

    @property
    def total(self) -> int:
        """All three."""
        return self.arguments + self.temporaries + self.program


@dataclass(frozen=True)
class Estimate:
    """What a step needs; of one device and one step where nothing else is said.

    What is None is not known, since the compiler found no room for the program.

    Attributes:
        topology: the chips.
        devices: how many they are.
        per_device_batch: images of each.
        fits: whether the memory is large enough.
        memory_bytes: needed.
        memory: the same by use.
        chip_memory_bytes: there is.
        flops: of convolutions and matrix products.
        traffic_bytes: between chip and memory.
        collectives: exchanges between the devices, by kind.
        collective_bytes: that it hands in to them.
        bounds: seconds that arithmetic, memory and collectives take at the chip's
            rates, alone.
        step_seconds_bound: the largest of the three, as if they overlapped fully.
        epoch_seconds_bound: of all steps of an epoch.
        steps_per_epoch: how many they are.
    """

    topology: str
    devices: int
    per_device_batch: int
    fits: bool
    memory_bytes: int
    memory: Memory | None
    chip_memory_bytes: int
    flops: int
    traffic_bytes: int | None
    collectives: dict[str, hlo_cost.Collective] | None
    collective_bytes: int | None
    bounds: dict[str, float] | None
    step_seconds_bound: float | None
    epoch_seconds_bound: float | None
    steps_per_epoch: int


def estimate(
    build: Build, topology: Topology, per_device_batch: int, dtype: str | None
) -> Estimate:
    """Reads a build's program.

    Args:
        build: the step.
        topology: what it was built for.
        per_device_batch: the images it was built for.
        dtype: of the network's computation; None is float32.
    """
    chip = topology.chip
    memory = traffic = exchanges = handed = bounds = bound = None
    if build.compiled is not None:
        memory = memory_of(build.compiled)
        program = parse(build.compiled.as_text())
        traffic = hlo_cost.traffic(program)
        exchanges = hlo_cost.collectives(program)
        handed = sum(kind.bytes for kind in exchanges.values())
        half = dtype in ("bfloat16", "float16")
        bounds = {
            "arithmetic": build.flops / (chip.bf16 if half else chip.f32),
            "memory traffic": traffic / chip.bandwidth,
            # Whatever the algorithm, what a device hands in leaves it once.
            "collectives": handed / chip.link,
        }
        bound = max(bounds.values())
    needed = memory.total if memory else build.needed_bytes or 0
    return Estimate(
        topology=str(topology),
        devices=topology.devices,
        per_device_batch=per_device_batch,
        fits=memory is not None and needed <= chip.memory,
        memory_bytes=needed,
        memory=memory,
        chip_memory_bytes=chip.memory,
        flops=build.flops,
        traffic_bytes=traffic,
        collectives=exchanges,
        collective_bytes=handed,
        bounds=bounds,
        step_seconds_bound=bound,
        epoch_seconds_bound=None if bound is None else bound * build.steps_per_epoch,
        steps_per_epoch=build.steps_per_epoch,
    )


def memory_of(compiled: Any) -> Memory:
    """What the compiler planned for a step: what is state and result is there once.

    Args:
        compiled: of `jax.stages.Lowered.compile`.
    """
    found = compiled.memory_analysis()
    arguments = found.argument_size_in_bytes
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return Memory(
        arguments=arguments + results,
        temporaries=found.temp_size_in_bytes,
        program=found.generated_code_size_in_bytes,
    )


def describe(found: Estimate) -> str:
    """The estimate as lines of text."""
    used = f"{gib(found.memory_bytes)} of {gib(found.chip_memory_bytes)}"
    lines = [
        f"devices           {found.devices} ({found.topology})",
        f"per-device batch  {found.per_device_batch}, "
        f"{found.per_device_batch * found.devices} images a step",
        f"memory            {used}: {'fits' if found.fits else 'DOES NOT FIT'}",
    ]
    if found.memory:
        lines.append(
            f"                  arguments {gib(found.memory.arguments)}, temporaries "
            f"{gib(found.memory.temporaries)}, program {gib(found.memory.program)}"
        )
    lines.append(f"FLOPs             {found.flops / 1e9:,.1f} G a device")
    if found.bounds is None or found.step_seconds_bound is None:
        return "\n".join(lines)
    exchanges = (found.collectives or {}).items()
    parts = (f"{name} {s * 1e3:.3g}" for name, s in found.bounds.items())
    lines += [
        f"memory traffic    {(found.traffic_bytes or 0) / 1e9:,.3f} GB a device",
        f"collectives       {(found.collective_bytes or 0) / 1e6:,.3f} MB a device"
        + "".join(f", {kind.calls} {name}" for name, kind in exchanges),
        f"lower bound       a step {found.step_seconds_bound * 1e3:.4g} ms, the most "
        f"of {', '.join(parts)}",
        f"                  an epoch {found.epoch_seconds_bound or 0:,.3g} s, "
        f"{found.steps_per_epoch} steps",
        "                  at the chip's published rates; a measured step is longer",
    ]
    return "\n".join(lines)


SCALING_HEAD = (
    "chips   memory GiB   traffic GB   collectives MB   step bound ms   images/s"
)


def scaling_row(found: Estimate) -> str:
    """The estimate as a row under `SCALING_HEAD`."""
    row = f"{found.devices:5}   {found.memory_bytes / 2**30:10.2f}   "
    if found.step_seconds_bound is None:
        return f"{row}does not fit"
    images = found.devices * found.per_device_batch / found.step_seconds_bound
    return (
        f"{row}{(found.traffic_bytes or 0) / 1e9:10.3f}   "
        f"{(found.collective_bytes or 0) / 1e6:14.3f}   "
        f"{found.step_seconds_bound * 1e3:13.2f}   {images:8,.0f}"
    )


def gib(count: int) -> str:
    """Bytes as text."""
    return f"{count / 2**30:.2f} GiB"
