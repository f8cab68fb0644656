"""Anchors, box coder, assignment, suppression and losses against public programs'.

Arrays are found by their names in every file of the kind, det_utils*.
"""

import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden

from prm_flax.detection import anchors, boxes, losses, matching, nms, roi_align

pytestmark = pytest.mark.usefixtures("x64")
FILES = golden.names("det_utils*")
STDS = [boxes.UNIT, (0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1)]
STDS.append((0.033, 0.033, 0.067, 0.067))
RULES = {"retinanet": (anchors.RETINANET, 8), "rpn": (anchors.RPN, 4)}
MATCHES = {"retinanet": matching.RETINANET, "rpn": matching.RPN}


def arrays(pattern):
    """Files and the names of their arrays that match, one a test."""
    found = [
        (name, key)
        for name in FILES
        for key in golden.load(name).arrays
        if re.fullmatch(pattern, key)
    ]
    assert found or golden.GIVEN, f"no golden array is called {pattern}"
    return pytest.mark.parametrize(("name", "key"), found)


def array(name, key):
    return jnp.asarray(golden.load(name).arrays[key])


def wanted(name, key):
    return golden.load(name).arrays[key]


def near(got, want, at_most):
    np.testing.assert_allclose(got, want, rtol=0, atol=at_most)


@arrays(r"anchors/(retinanet|rpn)_base_level\d")
def test_base_anchors(name, key):
    """The files' are float32."""
    kind, level = re.fullmatch(r"anchors/(\w+)_base_level(\d)", key).groups()
    rule, first = RULES[kind]
    got = anchors.base_anchors(rule, first * 2 ** int(level))
    np.testing.assert_array_equal(got.astype("float32"), wanted(name, key))


@arrays(r"anchors/(retinanet|rpn)_grid_level\d")
def test_anchors(name, key):
    kind, level = re.fullmatch(r"anchors/(\w+)_grid_level(\d)", key).groups()
    rule, first = RULES[kind]
    size = tuple(wanted(name, "anchors/feature_sizes_hw")[int(level)].tolist())
    got = anchors.level_anchors(rule, first * 2 ** int(level), size)
    np.testing.assert_allclose(got, wanted(name, key), rtol=1e-6)


@arrays(r"coder/encode_std\d")
def test_encode(name, key):
    own, targets = array(name, "coder/boxes"), array(name, "coder/targets")
    got = boxes.encode(own, targets, STDS[int(key[-1])])
    np.testing.assert_allclose(got, wanted(name, key), rtol=2e-6, atol=2e-6)


@arrays(r"coder/decode_std1")
def test_decode_within_an_image(name, key):
    own, deltas = array(name, "coder/boxes"), array(name, "coder/deltas")
    got = boxes.clip(boxes.decode(own, deltas, STDS[1]), jnp.array([200.0, 300.0]))
    np.testing.assert_allclose(got, wanted(name, key), rtol=1e-6, atol=1e-4)


@arrays(r"coder/decode_std0_noclip")
def test_decode(name, key):
    own, deltas = array(name, "coder/boxes"), array(name, "coder/deltas")
    got = boxes.decode(own, 0.3 * deltas)
    np.testing.assert_allclose(got, wanted(name, key), rtol=1e-6, atol=1e-4)


@arrays(r"assign/iou")
def test_iou(name, key):
    got = boxes.iou(array(name, "assign/gts"), array(name, "assign/boxes"))
    near(got, wanted(name, key), 1e-12)


@arrays(r"assign/(retinanet|rpn|rcnn_[\d.]+)")
def test_match(name, key):
    truth, own = array(name, "assign/gts"), array(name, "assign/boxes")
    kind, _, threshold = key.removeprefix("assign/").partition("_")
    if threshold:
        rule = matching.Thresholds(float(threshold), float(threshold))
    else:
        rule = MATCHES[kind]
    there = jnp.ones(len(truth), bool), jnp.ones(len(own), bool)
    match = jax.jit(matching.match, static_argnums=4)
    got = match(truth, there[0], own, there[1], rule)
    # The files count boxes from 1, background is 0, and what is ignored -1.
    np.testing.assert_array_equal(got, wanted(name, key) - 1)


@arrays(r"nms/keep_iou[\d.]+_(single_class|per_class)")
def test_nms(name, key):
    threshold, kind = re.fullmatch(r"nms/keep_iou([\d.]+)_(\w+)", key).groups()
    threshold = float(threshold)
    own, scores = array(name, "nms/boxes"), array(name, "nms/scores")
    labels = array(name, "nms/labels")
    classes = labels if kind == "per_class" else jnp.zeros_like(labels)
    valid = jnp.ones(len(own), bool)
    kept = jax.jit(nms.nms, static_argnums=3)(own, scores, valid, threshold, classes)
    want = wanted(name, key)
    assert set(np.flatnonzero(kept)) == set(want)
    best = jax.jit(nms.best_of, static_argnums=(4, 5))
    places, found = best(own, scores, classes, valid, threshold, len(own))
    np.testing.assert_array_equal(np.asarray(places)[np.asarray(found)], want)


@arrays(r"focal/loss_alpha[\d.]+_gamma[\d.]+")
def test_focal(name, key):
    alpha, gamma = re.fullmatch(r"focal/loss_alpha(.+)_gamma(.+)", key).groups()
    [labels] = [k for k in golden.load(name).arrays if k.startswith("focal/labels_")]
    got = losses.focal(
        array(name, "focal/logits"),
        array(name, labels),
        alpha=float(alpha),
        gamma=float(gamma),
    )
    near(got, wanted(name, key), 1e-12)


@arrays(r"smoothl1/beta.+")
def test_smooth_l1(name, key):
    beta = float(Fraction(key.removeprefix("smoothl1/beta").replace("over", "/")))
    difference = array(name, "smoothl1/pred") - array(name, "smoothl1/target")
    near(losses.smooth_l1(difference, beta), wanted(name, key), 1e-12)


@arrays(r"levels/level")
def test_levels(name, key):
    got = roi_align.levels_of(array(name, "levels/rois"), 4)
    np.testing.assert_array_equal(got, wanted(name, key))


@arrays(r"roialign/out\d+_scale[\d.]+_aligned\d_sampling\d+")
def test_roi_align(name, key):
    """The files' outputs are float32."""
    pattern = r"roialign/out(\d+)_scale([\d.]+)_aligned(\d)_sampling(\d+)"
    bins, scale, aligned, samples = re.fullmatch(pattern, key).groups()
    grid = roi_align.Grid(int(bins), int(samples), aligned == "1")
    features = golden.to_nhwc(wanted(name, "roialign/features"))
    align = jax.jit(roi_align.align, static_argnums=(2, 3))
    rois = wanted(name, "roialign/rois")
    for roi, out in zip(rois, wanted(name, key), strict=True):
        image, box = jnp.asarray(features[int(roi[0])]), jnp.asarray(roi[None, 1:])
        got = align(image, box, 1 / float(scale), grid)[0]
        np.testing.assert_allclose(got, np.moveaxis(out, 0, -1), rtol=1e-6, atol=1e-6)
