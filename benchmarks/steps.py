"""Whole training steps of ResNet-50, compiled for chips that are not here."""

import dataclasses
import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

from benchmarks.compiled import figures
from benchmarks.results import Row
from train.preflight.chips import parse_topology
from train.preflight.compile import build_step, prepare
from train.preflight.estimate import estimate

PACKAGES = ("jax", "jaxlib", "flax", "optax", "libtpu", "jax-cuda12-plugin")
TIMED = False
CHIPS = ("h100:4", "v5e:2x2")
IMAGES = 128
DTYPE = "bfloat16"
PLAIN, OURS = "resnet50", "prm_resnet50"
RIVALS = tuple(f"{name}_resnet50" for name in ("se", "ge", "cbam", "sk", "gc", "sge"))
Kernel = Literal["auto", "xla"] | None
# Network and PRM's option, what matters most first.
NETWORKS: tuple[tuple[str, Kernel], ...] = (
    (PLAIN, None),
    (OURS, "auto"),
    (OURS, "xla"),
    *((r, None) for r in RIVALS),
)


def cases() -> dict[str, Callable[[], Row]]:
    """Each network on each kind of chip."""
    return {
        name_of(chips, network, kernel): partial(measure, chips, network, kernel)
        for chips in CHIPS
        for network, kernel in NETWORKS
    }


def name_of(chips: str, network: str, kernel: str | None) -> str:
    """A row's key."""
    return " ".join(word for word in (chips, network, kernel) if word)


def measure(chips: str, network: str, kernel: Kernel = None) -> Row:
    """Compiles the step that `python -m train fit` would run.

    Args:
        chips: a topology.
        network: name of a config of configs/imagenet.
        kernel: PRM's option.
    """
    topology = parse_topology(chips)
    prepare(topology)
    config = importlib.import_module(f"configs.imagenet.{network}").config()
    model = dataclasses.replace(config.model, dtype=DTYPE, kernel=kernel)
    start = time.perf_counter()
    build = build_step(dataclasses.replace(config, model=model), topology, IMAGES)
    seconds = time.perf_counter() - start
    found = estimate(build, topology, IMAGES, DTYPE)
    return {
        "fits": found.fits,
        "memory_bytes": found.memory_bytes,
        "flops": found.flops,
        "collective_bytes": found.collective_bytes,
        "step_seconds_bound": found.step_seconds_bound,
        **(figures(build.compiled) if build.compiled else {}),
        "compile_seconds": round(seconds, 1),
    }
