"""`preflight`: whether a training step fits chips that are not here, and its time."""

import dataclasses
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from train.config import Config, Preflight
from train.distributed import say
from train.preflight.batch_search import Trial, search_batch
from train.preflight.chips import SCALING, Topology, parse_topology
from train.preflight.compile import build_step, prepare, with_batch
from train.preflight.estimate import (
    SCALING_HEAD,
    Estimate,
    describe,
    estimate,
    gib,
    scaling_row,
)
from train.validate import check_shares

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
    file = _file(options.json)
    prepare(topology)
    found = _try(config, topology, batch)
    say(f"{config.model.name}, {config.name}")
    for line in describe(found).splitlines():
        say(line)
    _say_hints(config, found)
    # What follows takes many minutes: the answer is there if it is cut short.
    for report in _reports(config, options, found):
        if file:
            file.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if found.fits else 1


def _reports(
    config: Config, options: Preflight, found: Estimate
) -> Iterator[dict[str, Any]]:
    """The numbers, then the same with more, whenever there is more."""
    report = _numbers(found)
    yield report
    if not found.fits:
        say(REMEDIES)
    if not found.fits or options.largest_batch:
        yield (report := report | {"largest_batch": _largest(config, found)})
    if options.scaling and found.fits:
        scaled: list[dict[str, Any]] = []
        for each in _scaled(config, found):
            scaled.append(_numbers(each))
            yield report | {"scaling": scaled}


def _file(name: str | None) -> Path | None:
    if name is None:
        return None
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(
            f"json must be a file's name in a folder that exists, got {name!r}: "
            f"mkdir -p {path.parent}, or another name."
        )
    return path


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


def _say_hints(config: Config, found: Estimate) -> None:
    for hint in _hints(config, found):
        say(f"note              {hint}")


def _hints(config: Config, found: Estimate) -> Iterator[str]:
    share = found.memory_bytes / found.chip_memory_bytes
    kind = parse_topology(found.topology).chip.kind
    if kind == "cuda" and found.fits and share > GPU_SHARE:
        yield (
            f"jax takes {GPU_SHARE:.0%} of a GPU: set "
            f"XLA_PYTHON_CLIENT_MEM_FRACTION={min(share + 0.03, 1):.2f}"
        )
    run = getattr(config.model, "batch_norm", "global")
    batch = found.per_device_batch
    if not isinstance(run, str) and batch % run and run % batch:
        yield (
            f"statistics of {run} images (model.batch_norm) do not lie whole on "
            f"devices of {batch}, which then hold each other's images: multiples of "
            f"{run} need less memory"
        )


def _largest(config: Config, found: Estimate) -> int | None:
    """Looks for it and says it."""
    topology = parse_topology(found.topology)
    say("largest batch     some more compiles:")

    known = {found.per_device_batch: found}

    def attempt(batch: int) -> Trial:
        tried = known[batch] = _try(config, topology, batch)
        fits = "fits" if tried.fits else "does not fit"
        say(f"                  {batch} images {gib(tried.memory_bytes)}, {fits}")
        return Trial(batch, tried.memory_bytes, tried.fits)

    first = Trial(found.per_device_batch, found.memory_bytes, found.fits)
    step = _step(config, topology)
    # One step an epoch: more images than there are make no batch.
    most = found.per_device_batch * found.steps_per_epoch
    batch = search_batch(attempt, first, found.chip_memory_bytes, step, most)
    if batch is None:
        say(f"would fit         no batch of {step} or more images a device")
    else:
        say(f"would fit         --per-device-batch {batch}, compiled to confirm it")
        _say_hints(config, known[batch])
    return batch


def _step(config: Config, topology: Topology) -> int:
    """The smallest batch of a device that fits the config's other options.

    Every rule is about multiples: so its multiples fit, too. Whole runs of batch norm,
    since devices that share one may come to hold each other's images.
    """
    run = config.model.batch_norm
    whole = 1 if isinstance(run, str) else run
    for batch in count(whole, whole):
        try:
            check_shares(with_batch(config, topology.devices, batch), topology.devices)
        except ValueError:
            continue
        return batch
    raise AssertionError


def _scaled(config: Config, found: Estimate) -> Iterator[Estimate]:
    """The same batch a device on 8 to 256 of the chips, a line each."""
    name = parse_topology(found.topology).name
    say(SCALING_HEAD)
    for shape in SCALING[parse_topology(found.topology).chip.axes]:
        topology = parse_topology(f"{name}:{shape}")
        known = str(topology) == found.topology
        each = found if known else _try(config, topology, found.per_device_batch)
        say(scaling_row(each))
        yield each


def _numbers(found: Estimate) -> dict[str, Any]:
    numbers = dataclasses.asdict(found)
    kinds = found.collectives or {}
    return numbers | {
        "collectives": {name: kind._asdict() for name, kind in kinds.items()}
    }
