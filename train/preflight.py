"""`preflight`: whether a training step fits chips that are not here, and its time."""

import dataclasses
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from train.aot import build_step, prepare, with_batch
from train.check import check_shares
from train.chips import SCALING, Topology, parse_topology
from train.config import Config, Preflight
from train.console import say
from train.estimate import Estimate, estimate
from train.largest import Tried, largest
from train.preflight_text import describe

REMEDIES = (
    "Less memory a device, too: --model.dtype bfloat16, --model.remat True, "
    "--optim.accumulate 2."
)
# Of a GPU's memory, what jax takes unless XLA_PYTHON_CLIENT_MEM_FRACTION says more.
GPU_SHARE = 0.75


def preflight(config: Config, options: Preflight) -> int:
    """Compiles, prints, writes; the exit code: 0 it fits, 1 it does not.

    Raises:
        ValueError: wrong options; nothing was compiled.
    """
    topology = parse_topology(options.topology)
    batch = _batch(config, options, topology)
    prepare(topology)
    found = _try(config, topology, batch)
    say(f"{config.model.name}, {config.name}\n{describe(found)}")
    _hint(found, topology)
    report = _numbers(found)
    if not found.fits or options.largest_batch:
        report["largest_batch"] = _largest(config, topology, found)
    if options.scaling:
        report["scaling"] = [_numbers(each) for each in _scaled(config, found)]
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return 0 if found.fits else 1


def _batch(config: Config, options: Preflight, topology: Topology) -> int:
    batch = options.per_device_batch
    if batch is None:
        batch, rest = divmod(config.batch_size, topology.devices)
        if rest or not batch:
            raise ValueError(
                f"batch_size {config.batch_size} does not divide among "
                f"{topology.devices} devices: give --per-device-batch, images of each."
            )
    if batch < 1:
        raise ValueError(f"per_device_batch must be at least 1, got {batch}.")
    return batch


def _try(config: Config, topology: Topology, batch: int) -> Estimate:
    build = build_step(config, topology, batch)
    return estimate(build, topology, batch, config.model.dtype)


def _hint(found: Estimate, topology: Topology) -> None:
    share = found.memory_bytes / found.chip_memory_bytes
    if topology.chip.kind == "cuda" and found.fits and share > GPU_SHARE:
        say(
            f"note              jax takes {GPU_SHARE:.0%} of a GPU: set "
            f"XLA_PYTHON_CLIENT_MEM_FRACTION={min(share + 0.03, 1):.2f}"
        )


def _largest(config: Config, topology: Topology, found: Estimate) -> int | None:
    """Looks for it and says it."""

    def attempt(batch: int) -> Tried:
        tried = _try(config, topology, batch)
        return Tried(batch, tried.memory_bytes, tried.fits)

    first = Tried(found.per_device_batch, found.memory_bytes, found.fits)
    step = _step(config, topology)
    # One step an epoch: more images than there are make no batch.
    most = found.per_device_batch * found.steps_per_epoch
    batch = largest(attempt, first, found.chip_memory_bytes, step, most)
    if batch is None:
        say(f"would fit         no batch of {step} or more images a device")
    else:
        say(f"would fit         --per-device-batch {batch}, compiled to confirm it")
    if not found.fits:
        say(REMEDIES)
    return batch


def _step(config: Config, topology: Topology) -> int:
    """The smallest batch of a device that fits the config's other options.

    Every rule is about multiples: so its multiples fit, too.
    """
    for batch in count(1):
        try:
            check_shares(with_batch(config, topology.devices, batch), topology.devices)
        except ValueError:
            continue
        return batch
    raise AssertionError


def _scaled(config: Config, found: Estimate) -> Iterator[Estimate]:
    """The same batch a device on 8 to 256 of the chips, a line each."""
    name = parse_topology(found.topology).name
    say("chips   step bound ms   collectives MB   images a second at most")
    for shape in SCALING[parse_topology(found.topology).chip.axes]:
        topology = parse_topology(f"{name}:{shape}")
        batch = found.per_device_batch
        each = _try(config, topology, batch)
        bound = each.step_seconds_bound
        if bound is None:
            say(f"{each.devices:5}   does not fit")
        else:
            say(
                f"{each.devices:5}   {bound * 1e3:13.2f}   "
                f"{(each.collective_bytes or 0) / 1e6:14.3f}   "
                f"{each.devices * batch / bound:24,.0f}"
            )
        yield each


def _numbers(found: Estimate) -> dict[str, Any]:
    numbers = dataclasses.asdict(found)
    kinds = found.collectives or {}
    return numbers | {
        "collectives": {name: kind._asdict() for name, kind in kinds.items()}
    }
