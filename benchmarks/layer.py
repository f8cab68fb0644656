"""The PRM layer alone, compiled for chips that are not here.

Figures are multiples of the bytes of its input. The least is 2 forward (read x, write
y) and 5 with the backward pass (read x, write y, read x and dy, write dx).
"""

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.layout import Format, Layout

from benchmarks.compiled import figures
from benchmarks.results import Row
from prm_flax import PRM
from train import sharding
from train.preflight.chips import parse_topology
from train.preflight.compile import devices_of, prepare

PACKAGES = ("jax", "jaxlib", "libtpu", "jax-cuda12-plugin")
TIMED = False
CHIPS = ("h100:4", "v5e:2x2")
# ResNet-50's: height and width, channels.
MAPS = ((56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048))
FORMS = ("xla", "auto")
PASSES = ("forward", "both")
IMAGES = 32


class Case(NamedTuple):
    """One layer to compile.

    Attributes:
        chips: a topology.
        map: height, width, channels.
        run: "forward", or "both": backward too.
        kernel: PRM's option, "xla" for the straightforward form.
        groups: g.
        layout: of the features: "network", what the compiler would have between two
            convolutions, or "default", row-major, as for a layer alone.
    """

    chips: str
    map: tuple[int, int, int]
    run: str
    kernel: str
    groups: int = 64
    layout: str = "network"

    def __str__(self) -> str:
        h, w, channels = self.map
        words = (
            f"{self.chips} {h}x{w}x{channels} g={self.groups} {self.run} {self.kernel}"
        )
        return words + (" default" if self.layout == "default" else "")


def cases() -> dict[str, Callable[[], Row]]:
    """All maps, passes, forms and chips; the first map also as it lies by default."""
    found = [Case(*each) for each in itertools.product(CHIPS, MAPS, PASSES, FORMS)]
    first = (case for case in found if case.map == MAPS[0])
    found += [c._replace(layout="default") for c in first if _is_tpu(c)]
    return {str(case): partial(measure, case) for case in found}


def measure(case: Case) -> Row:
    """Compiles one."""
    topology = parse_topology(case.chips)
    prepare(topology)
    mesh = sharding.make_mesh(devices_of(topology))
    function, arguments, kinds = _function(case, topology.devices)
    formats = {
        "features": _features(case, mesh),
        "parameters": sharding.replicated(mesh),
    }
    inputs, outputs = (tuple(formats[kind] for kind in side) for side in kinds)
    start = time.perf_counter()
    with jax.set_mesh(mesh):
        jitted: Any = jax.jit(function, in_shardings=inputs, out_shardings=outputs)
        compiled = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - start
    found = figures(compiled)
    unit = arguments[0].size * 2 / topology.devices
    return {
        "traffic": round(found.pop("traffic_bytes") / unit, 3),
        "temporary": round(found.pop("temporary_bytes") / unit, 3),
        **found,
        "compile_seconds": round(seconds, 1),
    }


def _function(case: Case, devices: int):
    """A function, its arguments, and the kinds of its arguments and results."""
    x = jax.ShapeDtypeStruct((devices * IMAGES, *case.map), jnp.bfloat16)
    prm = PRM(case.groups, kernel=case.kernel)
    variables = jax.eval_shape(
        PRM(case.groups, kernel="xla").init, jax.random.key(0), x
    )

    def forward(x, variables):
        return prm.apply(variables, x)

    def both(x, variables, dy):
        y, pull = jax.vjp(forward, x, variables)
        return (y, *pull(dy))

    f, p = "features", "parameters"
    if case.run == "forward":
        return lambda x, v: (forward(x, v),), (x, variables), ((f, p), (f,))
    return both, (x, variables, x), ((f, p, f), (f, f, p))


def _features(case: Case, mesh) -> Any:
    shared = sharding.split(mesh)
    free = case.layout == "network" and _is_tpu(case)
    return Format(Layout.AUTO, shared) if free else shared


def _is_tpu(case: Case) -> bool:
    return parse_topology(case.chips).chip.kind == "tpu"
