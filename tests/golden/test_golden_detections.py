"""What becomes of raw outputs: proposals and detections, against the library's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden
from support import golden_detectors as files

from prm_flax.detection import cascade_rcnn, retinanet, rpn
from prm_flax.detection.boxes import clip, decode
from prm_flax.detection.detect import suppress
from prm_flax.detection.roi_head import STAGES, StageOutputs

pytestmark = pytest.mark.usefixtures("x64")
PIXELS = 1e-8
RETINANET_STRIDES = (8, 16, 32, 64, 128)
RPN_STRIDES = (4, 8, 16, 32, 64)
NO_EXTENTS = (None,) * 5


def sizes_of(file):
    return jnp.asarray(file.meta["image_hw"], jnp.float64)


def assert_image(got, i, want):
    """One image's boxes are those wanted, in their order, and no others."""
    count = len(want["scores"])
    assert got.valid[i].sum() == count
    assert got.valid[i, :count].all()
    np.testing.assert_allclose(got.boxes[i, :count], want["boxes"], 0, PIXELS)
    np.testing.assert_allclose(got.scores[i, :count], want["scores"], 0, 1e-12)
    if "labels" in want:
        np.testing.assert_array_equal(got.labels[i, :count], want["labels"])
    assert not got.boxes[i, count:].any()


def assert_detections(file, found):
    meta = file.meta
    scale = jnp.asarray(meta["scale_factors"], jnp.float64)
    cut = jax.jit(suppress, static_argnums=(2, 3))
    got = cut(found, scale, meta["nms_iou"], meta["max_per_image"])
    for i in range(len(meta["image_hw"])):
        assert_image(got, i, file.under(f"out/image{i}"))


@pytest.mark.parametrize("name", golden.names("det_post_retinanet*"))
def test_retinanet(name):
    file = golden.load(name)
    find = jax.jit(retinanet.candidates, static_argnums=(1, 2, 4))
    outputs, sizes = files.dense_outputs(file, 80), sizes_of(file)
    score = file.meta["score_threshold"]
    found = find(outputs, RETINANET_STRIDES, NO_EXTENTS, sizes, score)
    assert_detections(file, found)


@pytest.mark.parametrize("name", golden.names("det_post_cascade*"))
def test_cascade(name):
    """Each stage's boxes are what its deltas make of those of the stage before."""
    file = golden.load(name)
    boxes, valid = padded(files.of_images(file, "proposals"))
    stages = []
    for k, rule in enumerate(STAGES):
        logits, deltas = (
            padded(files.of_images(file, f"{kind}/stage{k}"))[0]
            for kind in ("logits", "deltas")
        )
        boxes = clip(decode(boxes, deltas, rule.stds), sizes_of(file))
        stages.append(StageOutputs(logits, deltas, boxes))
        wanted = file.under(f"rois_in/stage{k + 1}")
        for i, want in enumerate(wanted[f"image{i}"] for i in range(len(wanted))):
            np.testing.assert_allclose(boxes[i, : len(want)], want, 0, PIXELS)
    find = jax.jit(cascade_rcnn.candidates, static_argnums=2)
    assert_detections(file, find(tuple(stages), valid, file.meta["score_threshold"]))


def padded(rows):
    """Each image's rows in so many places as the most has, and which there are."""
    most = max(map(len, rows))
    wide = np.zeros((len(rows), most, rows[0].shape[1]))
    for i, own in enumerate(rows):
        wide[i, : len(own)] = own
    there = np.arange(most) < np.array([[len(own)] for own in rows])
    return jnp.asarray(wide), jnp.asarray(there)


@functools.cache
def settings(name):
    return golden.load(name).meta["settings"]


@pytest.mark.parametrize(
    ("name", "setting"),
    [(n, s) for n in golden.names("det_proposals*") for s in settings(n)],
)
def test_proposals(name, setting):
    file, rule = golden.load(name), settings(name)[setting]
    assert rule["nms_iou"] == rpn.OVERLAP
    propose = jax.jit(rpn.proposals, static_argnums=(1, 2, 4, 5))
    outputs, sizes = files.dense_outputs(file, 1), sizes_of(file)
    best, keep = rule["per_level_topk"], rule["kept"]
    got = propose(outputs, RPN_STRIDES, NO_EXTENTS, sizes, best, keep)
    for i in range(len(file.meta["image_hw"])):
        assert_image(got, i, file.under(f"{setting}/image{i}"))
