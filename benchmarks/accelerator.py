"""Time on the GPU or TPU that is here: the layer, training steps, detectors' steps.

The layer is repeated within one program, so that starting it costs nothing; beside it
runs a copy of its input, which reads and writes it once and so says what its memory
can do. Steps are started one after the other without waiting, as a training does.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import detection, steps, wall
from benchmarks.layer import MAPS, PASSES
from benchmarks.markdown import Results, pair, part, times
from benchmarks.results import Row, read
from benchmarks.timing import alternate
from prm_flax import PRM
from prm_flax.detection import Targets

PACKAGES = ("jax", "jaxlib", "flax", "optax", "jax-cuda12-plugin", "jax-cuda13-plugin")
TIMED = False  # the names of the rows begin with the device
IMAGES, SIDE, GROUPS = 128, 224, 64  # bfloat16
REPEATS, CALLS, ROUNDS = 4, 10, 9
FORMS = {"straightforward": "xla", "kernels": "auto"}
# Row -> name -> a network and PRM's option; the first is what the others are put to.
STEPS: dict[str, dict[str, tuple[str, steps.Kernel]]] = {
    "step, kernels": {"plain": (steps.PLAIN, None), "PRM": (steps.OURS, "auto")},
    "step, straightforward": {"plain": (steps.PLAIN, None), "PRM": (steps.OURS, "xla")},
    "step, rivals": {
        "plain": (steps.PLAIN, None),
        **{name: (name, None) for name in steps.RIVALS},
    },
}
DETECTOR, DETECTORS = (
    "step, RetinaNet",
    {"plain": "retinanet_resnet50", "PRM": "retinanet_prm_resnet50"},
)
# Objects of an image; the spread of parameters about their first values.
OBJECTS, SPREAD = 10, 0.01


def cases() -> dict[str, Callable[[], Row]]:
    """The layer at ResNet-50's four maps, a detector's step, steps of networks."""
    return {
        f"{jax.devices()[0].device_kind}, {key}": run for key, run in rows().items()
    }


def rows() -> dict[str, Callable[[], Row]]:
    """The same without the device."""
    layers = {
        f"layer {h}×{w}×{c} {which}": partial(_layers, (h, w, c), which)
        for h, w, c in MAPS
        for which in PASSES
    }
    whole = {name: partial(_steps, networks) for name, networks in STEPS.items()}
    return layers | {DETECTOR: _detectors} | whole


def _steps(networks: dict[str, tuple[str, steps.Kernel]]) -> Row:
    """What `python -m train fit` runs for a batch, on one device."""
    _accelerated()
    images = wall.batch(IMAGES, SIDE)
    ways = {
        name: wall.Training(
            wall.experiment(network, IMAGES, dtype=steps.DTYPE, kernel=kernel), images
        )
        for name, (network, kernel) in networks.items()
    }
    return alternate(ways, ROUNDS, CALLS)


def _layers(size: tuple[int, int, int], which: str) -> Row:
    """Seconds of one layer, and how far the forms lie from float32's definition."""
    _accelerated()
    x, dy, variables = _numbers(size)
    passes = {name: partial(_layer, kernel, which) for name, kernel in FORMS.items()}
    ways = {
        name: partial(jax.jit(partial(_repeated, one)), x, dy, variables)
        for name, one in {"copy": _copy, **passes}.items()
    }
    times = alternate(ways, ROUNDS, CALLS, parts=REPEATS)
    return times | {"errors": _errors(passes, which, x, dy, variables)}


def _numbers(size: tuple[int, int, int]):
    """Features, their cotangent, and variables a little off the first values."""
    keys = iter(jax.random.split(jax.random.key(0), 16))

    def draw(shape, dtype):
        return jax.random.normal(next(keys), shape, dtype)

    x, dy = (draw((IMAGES, *size), jnp.bfloat16) for _ in range(2))
    variables = PRM(GROUPS, kernel="xla").init(next(keys), x[:1])
    moved = jax.tree.map(lambda v: v + SPREAD * draw(v.shape, v.dtype), variables)
    return x, dy, moved


def _layer(kernel: str, which: str, x, dy, variables):
    """(y, the cotangent of x, the cotangents of the variables)."""
    prm = PRM(GROUPS, kernel=kernel)
    if which == "forward":
        return prm.apply(variables, x), dy, variables
    y, pull = jax.vjp(lambda x, variables: prm.apply(variables, x), x, variables)
    return y, *pull(dy)


def _copy(x, dy, variables):
    return x + 1, dy, variables


def _repeated(one: Callable[..., Any], x, dy, variables):
    """The layer on what it gave; every cotangent is used."""
    total = jax.tree.map(jnp.zeros_like, variables)
    for _ in range(REPEATS):
        x, dy, found = lax.optimization_barrier(one(x, dy, variables))
        total = jax.tree.map(jnp.add, total, found)
    return x, dy, total


def _errors(passes: dict[str, Callable[..., Any]], which: str, x, dy, variables) -> Row:
    """‖found − right‖ / ‖right‖ of y, and of dx where there is one."""
    exact = jax.jit(partial(_layer, "xla", which))
    right = exact(x.astype(jnp.float32), dy.astype(jnp.float32), variables)
    found = {name: jax.jit(one)(x, dy, variables) for name, one in passes.items()}
    count = 1 + PASSES.index(which)
    return {
        name: [_apart(*pair) for pair in zip(y[:count], right[:count], strict=True)]
        for name, y in found.items()
    }


def _apart(found: jax.Array, right: jax.Array) -> float:
    far = jnp.linalg.norm((found.astype(jnp.float32) - right).ravel())
    return float(f"{far / jnp.linalg.norm(right.ravel()):.3g}")


def _detectors() -> Row:
    """A step of RetinaNet, two images of 800×1344, plain and with PRM."""
    _accelerated()
    ways = {name: _Detecting(network) for name, network in DETECTORS.items()}
    return alternate(ways, ROUNDS, CALLS)


class _Detecting:
    """A training that goes on by a step whenever it is called."""

    def __init__(self, name: str):
        work = detection.step(name)
        model, _ = detection.detector(name)
        self.step = jax.jit(work.function, donate_argnums=work.donated)
        key = jax.random.key(0)
        images = jax.random.normal(key, (detection.IMAGES, *detection.SIZE, 3))
        self.variables = jax.jit(model.init)(key, images[:1, :128, :128])
        momentum, keys = work.arguments[1], jax.random.split(key, detection.IMAGES)
        self.momentum = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), momentum)
        sizes = jnp.array([detection.SIZE] * detection.IMAGES, jnp.int32)
        self.data = images.astype(jnp.bfloat16), sizes, _objects(), keys

    def __call__(self) -> Any:
        """The losses of one more step."""
        self.variables, self.momentum, losses = self.step(
            self.variables, self.momentum, *self.data
        )
        return losses


def _objects() -> Targets:
    """Some boxes in each image."""
    random = np.random.default_rng(0)
    places = detection.IMAGES, detection.PLACES
    low = random.uniform(0, 600, (*places, 2))
    boxes = np.concatenate([low, low + random.uniform(16, 200, (*places, 2))], -1)
    taken = np.broadcast_to(np.arange(detection.PLACES) < OBJECTS, places)
    return Targets(
        jnp.asarray(boxes, jnp.float32),
        jnp.asarray(random.integers(0, detection.CLASSES, places), jnp.int32),
        jnp.zeros(places, bool),
        jnp.asarray(taken),
    )


def _accelerated() -> None:
    platform = jax.devices()[0].platform
    if platform == "cpu":
        raise ValueError(
            "times of an accelerator need a GPU or a TPU, and JAX finds the processor"
            " alone. Install the extra cuda12 or tpu, or measure `wall`."
        )


def _devices(results: Results) -> list[str]:
    return list(dict.fromkeys(key.partition(", ")[0] for key in results["rows"]))


def steps_table() -> str:
    """Whole steps, plain and with PRM."""
    results = read("accelerator")
    words = (
        f"**Time of a training step on a GPU**: ResNet-50, {IMAGES} images "
        f"of {SIDE}×{SIDE}, and RetinaNet-R50, "
        f"{detection.IMAGES} images of 800×1344, bfloat16; plain and with PRM in turn, "
        "in one process; medians, and the median of the rounds' ratios"
    )
    lines = [
        [f"{device}, {name}", *times(results["rows"].get(f"{device}, {name}"))[:3]]
        for device in _devices(results)
        for name in rows()
        if name.startswith("step") and "rivals" not in name
    ]
    return part(words, results, ["", "plain", "PRM", "ratio"], lines)


def layers_table() -> str:
    """The layer's forms beside a copy."""
    results = read("accelerator")
    words = (
        "**The layer on a GPU**, forward / forward and backward: milliseconds and, in "
        "brackets, multiples of a copy of its input beside it; "
        f"{IMAGES} images, bfloat16, g = {GROUPS}"
    )
    lines = [
        [f"{device}, {form}", *(_timed(results, device, form, m) for m in MAPS)]
        for device in _devices(results)
        for form in FORMS
    ]
    least = ["least possible", *["(1 / 2.5)"] * len(MAPS)]
    head = ["", *("×".join(map(str, size)) for size in MAPS)]
    return part(words, results, head, [*lines, least])


def _timed(results: Results, device: str, form: str, size: tuple[int, ...]) -> str:
    name = "×".join(map(str, size))
    keys = [f"{device}, layer {name} {which}" for which in PASSES]
    times = pair(results, keys, lambda row: f"{1e3 * row[form]['median_seconds']:.3g}")
    copies = pair(results, keys, lambda row: f"{row[form]['ratio']:.1f}")
    return f"{times} ({copies})"
