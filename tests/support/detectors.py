"""Small detectors, three images of their own sizes, and ground truth."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from support.networks import shapes

from prm_flax.detection import create_detector, pad_targets

KINDS = ("retinanet", "cascade_rcnn")
CLASSES = 3
NARROW = {
    "retinanet": {"channels": 24, "depth": 2},
    "cascade_rcnn": {"channels": 16, "hidden": 32},
}
BUCKETS = ((64, 96), (64, 128), (96, 96), (128, 96))
# Two of them are 64×64 when padded alone.
SIZES = np.array([[60, 33], [50, 64], [30, 90]])
BOXES = (
    [[2, 3, 30, 40], [5, 20, 30, 55], [0, 0, 33, 60]],
    [],
    [[10, 2, 80, 29], [30, 12, 50, 20]],
)
LABELS = ([0, 2, 1], [], [1, 0])


class Subject(NamedTuple):
    """A detector and its variables."""

    model: object
    variables: dict


@functools.cache
def small(kind, network="prm_resnet18", dtype=jnp.float64):
    """One narrow block a stage, and numbers such that no score is 0 or 1."""
    options = NARROW[kind] | ({"groups": 4} if network.startswith("prm") else {})
    model = create_detector(f"{kind}_{network}", CLASSES, **options)
    model = model.clone(backbone=model.backbone.clone(depths=(1, 1, 1, 1), width=8))
    drawn = np.random.default_rng(0)
    abstract, _ = shapes(model)
    flat = flatten_dict(abstract)
    leaves = {path: _leaf(path, a.shape, drawn) for path, a in flat.items()}
    return Subject(model, cast(unflatten_dict(leaves), dtype))


def _leaf(path, shape, drawn):
    n = drawn.standard_normal(shape)
    if path[-1] == "kernel":
        return n / np.sqrt(np.prod(shape[:-1])) * (0.3 if path[-2] in LAST else 1.2)
    return 0.1 * n + (path[-1] in ("scale", "var"))


# Layers whose outputs are logits or deltas.
LAST = ("retina_cls", "retina_reg", "rpn_reg", "fc_reg")


def cast(tree, dtype=jnp.float64):
    """Arrays of floating numbers, of one dtype."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def images(bucket, seed=0):
    """Noise, also in what is to be padding."""
    drawn = np.random.default_rng(seed)
    found = drawn.standard_normal((len(SIZES), *bucket, 3))
    fixed = np.random.default_rng(seed + 1)
    for i, (h, w) in enumerate(SIZES):
        found[i, :h, :w] = fixed.standard_normal((h, w, 3))
    return jnp.asarray(found)


def alone(i):
    """Image i in a bucket of its own, and its size: (1, h, w, 3), (1, 2)."""
    h, w = SIZES[i]
    bucket = tuple(-(-n // 32) * 32 for n in (h, w))
    own = np.zeros((1, *bucket, 3))
    own[0, :h, :w] = images(BUCKETS[0])[i, :h, :w]
    return jnp.asarray(own), jnp.asarray(SIZES[i : i + 1])


def targets(places=4, chosen=(0, 1, 2)):
    """The ground truth of the images."""
    found = pad_targets([BOXES[i] for i in chosen], [LABELS[i] for i in chosen], places)
    return found._replace(boxes=found.boxes.astype(np.float64))
