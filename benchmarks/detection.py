"""Detectors and their parts, compiled for one chip that is not here.

Two images of 800×1344 with 100 places for boxes each, in bfloat16. Traffic is what
instructions read and write in the device's memory; the body of a loop whose rounds
depend on the numbers, as in the suppression and the sampling grid, is counted once.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.compiled import figures
from benchmarks.results import Row
from prm_flax.detection import (
    Targets,
    create_detector,
    detect,
    detection_loss,
    matching,
    nms,
    roi_head,
    rpn,
    sampling,
)
from prm_flax.detection.anchors import RETINANET, RPN, all_anchors
from prm_flax.detection.dense import DenseOutputs
from prm_flax.detection.losses import focal
from prm_flax.detection.targets import assign
from train import sharding
from train.preflight.chips import parse_topology
from train.preflight.compile import compile_traced, devices_of, prepare
from train.preflight.flops import flops

PACKAGES = ("jax", "jaxlib", "flax", "optax", "libtpu", "jax-cuda12-plugin")
TIMED = False
# One device of each is compiled for; a TPU's least topology has four.
CHIPS = {"h100": "h100:1", "v5e": "v5e:2x2"}
IMAGES, SIZE, PLACES, CLASSES = 2, (800, 1344), 100, 80
STRIDES = {"retinanet": (8, 16, 32, 64, 128), "rpn": (4, 8, 16, 32, 64)}
RULES = {"retinanet": RETINANET, "rpn": RPN}
ROIS, CHANNELS = 512, 256

Shape = jax.ShapeDtypeStruct


class Work(NamedTuple):
    """What is compiled.

    Attributes:
        function: of the arguments.
        arguments: abstract.
        donated: numbers of those that the results may take the place of.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    donated: tuple[int, ...] = ()


def floats(*shape: int, dtype: Any = jnp.float32) -> Shape:
    """An abstract array of floating numbers."""
    return Shape(shape, dtype)


def sizes_of(kind: str) -> tuple[tuple[int, int], ...]:
    """Height and width of a detector's levels."""
    return tuple(
        (-(-SIZE[0] // stride), -(-SIZE[1] // stride)) for stride in STRIDES[kind]
    )


def targets(images: int = IMAGES) -> Targets:
    """The ground truth's shapes."""
    places = images, PLACES
    return Targets(
        floats(*places, 4),
        Shape(places, jnp.int32),
        Shape(places, jnp.bool_),
        Shape(places, jnp.bool_),
    )


def keys(images: int = IMAGES) -> Shape:
    """Those of the images."""
    return jax.eval_shape(lambda: jax.random.split(jax.random.key(0), images))


def maps(kind: str, each: int) -> tuple[Shape, ...]:
    """What the last convolution of a head says, `each` for an anchor."""
    channels = RULES[kind].per_position * each
    return tuple(
        floats(IMAGES, *size, channels, dtype=jnp.bfloat16) for size in sizes_of(kind)
    )


def roi_align(both: bool) -> Work:
    """512 boxes an image from P2 to P5; `both` with the levels' gradients."""
    strides = STRIDES["rpn"][:4]
    levels = tuple(
        floats(IMAGES, *size, CHANNELS, dtype=jnp.bfloat16)
        for size in sizes_of("rpn")[:4]
    )

    def forward(levels, boxes):
        sizes = jnp.full((IMAGES, 2), 800.0)
        return roi_head.Pyramid(levels, strides, None, sizes).features(boxes)

    def backward(levels, boxes, dy):
        y, pull = jax.vjp(lambda levels: forward(levels, boxes), levels)
        return y, pull(dy)

    boxes = floats(IMAGES, ROIS, 4)
    if not both:
        return Work(forward, (levels, boxes))
    dy = floats(IMAGES, ROIS, 7, 7, CHANNELS, dtype=jnp.bfloat16)
    return Work(backward, (levels, boxes, dy))


def assignment(kind: str) -> Work:
    """Each anchor's object."""
    rule = {"retinanet": matching.RETINANET, "rpn": matching.RPN}[kind]

    def run(targets):
        own = all_anchors(RULES[kind], STRIDES[kind], sizes_of(kind))
        own = jnp.broadcast_to(jnp.asarray(own, jnp.float32), (IMAGES, *own.shape))
        return assign(targets, own, jnp.ones(own.shape[:2], bool), rule, None)

    return Work(run, (targets(),))


def suppression() -> Work:
    """Eight sets of 1,000 boxes."""

    def run(boxes, scores, classes):
        def one(boxes, scores, classes):
            valid = jnp.ones(scores.shape, bool)
            return nms.best_of(boxes, scores, classes, valid, 0.5, 100)

        return jax.vmap(one)(boxes, scores, classes)

    return Work(run, (floats(8, 1000, 4), floats(8, 1000), Shape((8, 1000), jnp.int32)))


def proposals(count: int) -> Work:
    """From objectness and deltas to so many boxes an image."""

    def run(logits, deltas, sizes):
        def by_anchor(levels, each):
            return tuple(x.reshape(*x.shape[:3], -1, each) for x in levels)

        outputs = DenseOutputs(by_anchor(logits, 1), by_anchor(deltas, 4))
        none = (None,) * 5
        return rpn.proposals(outputs, STRIDES["rpn"], none, sizes, count, count)

    return Work(run, (maps("rpn", 1), maps("rpn", 4), floats(IMAGES, 2)))


def sampled() -> Work:
    """256 anchors an image."""
    count = sum(h * w for h, w in sizes_of("rpn")) * RPN.per_position

    def run(keys, positive, negative):
        one = partial(sampling.sample, rule=sampling.RPN)
        return jax.vmap(one)(keys, positive, negative)

    mask = Shape((IMAGES, count), jnp.bool_)
    return Work(run, (keys(), mask, mask))


def focal_loss() -> Work:
    """Of all anchors and classes, with its gradient."""
    count = sum(h * w for h, w in sizes_of("retinanet")) * RETINANET.per_position

    def run(logits, labels):
        def loss(logits):
            each = focal(logits.astype(jnp.float32), labels)
            return jnp.where((labels >= -1)[..., None], each, 0).sum()

        return jax.value_and_grad(loss)(logits)

    logits = floats(IMAGES, count, CLASSES, dtype=jnp.bfloat16)
    return Work(run, (logits, Shape((IMAGES, count), jnp.int32)))


def found(name: str) -> Work:
    """From images to boxes."""
    model, variables = detector(name)

    def run(variables, images, sizes):
        return detect(model, variables, images, sizes)

    images = floats(IMAGES, *SIZE, 3, dtype=jnp.bfloat16)
    return Work(run, (variables, images, Shape((IMAGES, 2), jnp.int32)))


def detector(name: str) -> tuple[Any, Any]:
    """A network that computes in bfloat16, and its abstract variables."""
    model = create_detector(name, CLASSES, dtype=jnp.bfloat16)
    small = floats(1, 128, 128, 3)
    return model, jax.eval_shape(model.init, jax.random.key(0), small)


def step(name: str, images: int = IMAGES) -> Work:
    """A training step: forward, backward, SGD with momentum."""
    model, variables = detector(name)
    tx = optax.sgd(0.01, 0.9)
    state = jax.eval_shape(tx.init, variables["params"])

    def run(variables, state, x, sizes, targets, keys):
        def loss(params):
            both = variables | {"params": params}
            return detection_loss(model, both, x, sizes, targets, keys)[:2]

        params = variables["params"]
        (_, losses), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = tx.update(gradients, state, params)
        return (
            variables | {"params": optax.apply_updates(params, updates)},
            state,
            losses,
        )

    data = floats(images, *SIZE, 3, dtype=jnp.bfloat16), Shape((images, 2), jnp.int32)
    return Work(run, (variables, state, *data, targets(images), keys(images)), (0, 1))


# Name -> what is compiled.
PARTS: dict[str, Callable[[], Work]] = {
    "roi_align forward": partial(roi_align, False),
    "roi_align both": partial(roi_align, True),
    "assignment retinanet": partial(assignment, "retinanet"),
    "assignment rpn": partial(assignment, "rpn"),
    "suppression 8x1000": suppression,
    "proposals 1000": partial(proposals, 1000),
    "proposals 2000": partial(proposals, 2000),
    "sampling rpn": sampled,
    "focal both": focal_loss,
}
DETECTORS = tuple(
    f"{kind}_{network}"
    for kind in ("retinanet", "cascade_rcnn")
    for network in ("resnet50", "prm_resnet50")
)
WHOLE: dict[str, Callable[[], Work]] = {
    **{f"detect {name}": partial(found, name) for name in DETECTORS[::2]},
    **{f"step {name}": partial(step, name) for name in DETECTORS},
}
# Chip -> images that RetinaNet's step is asked to have room for.
ROOM = {"h100": (16,), "v5e": (4, 8)}


def cases() -> dict[str, Callable[[], Row]]:
    """All parts on each chip, then whole programs, then larger batches."""
    rows = {f"{c} {name}": (c, work) for name, work in PARTS.items() for c in CHIPS}
    rows |= {f"{c} {name}": (c, work) for name, work in WHOLE.items() for c in CHIPS}
    for chip, counts in ROOM.items():
        for images in counts:
            work = partial(step, DETECTORS[0], images)
            rows[f"{chip} step {DETECTORS[0]} {images} images"] = chip, work
    return {key: partial(measure, *row) for key, row in rows.items()}


def measure(chip: str, make: Callable[[], Work]) -> Row:
    """Compiles one."""
    topology = parse_topology(CHIPS[chip])
    prepare(topology)
    mesh = sharding.make_mesh(devices_of(topology)[:1])
    work, whole = make(), sharding.replicated(mesh)
    start = time.perf_counter()
    with jax.set_mesh(mesh):
        jitted: Any = jax.jit(
            work.function,
            in_shardings=whole,
            out_shardings=whole,
            donate_argnums=work.donated,
        )
        traced = jitted.trace(*work.arguments)
    compiled, needed = compile_traced(mesh, traced)
    seconds = time.perf_counter() - start
    row = {"flops": flops(traced.jaxpr.jaxpr), "compile_seconds": round(seconds, 1)}
    if compiled is None:
        return row | {"fits": False, "memory_bytes": needed}
    memory = compiled.memory_analysis()
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    taken = memory.argument_size_in_bytes + memory.temp_size_in_bytes + results
    return row | {
        "fits": taken <= topology.chip.memory,
        "memory_bytes": taken,
        **figures(compiled),
    }
