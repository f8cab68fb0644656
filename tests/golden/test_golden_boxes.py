"""Anchors, box coder, assignment, suppression and losses against public programs'."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden

from prm_flax.detection import anchors, boxes, losses, matching, nms, roi_align

pytestmark = pytest.mark.usefixtures("x64")
FILE = golden.load("det_utils").arrays
STDS = [boxes.UNIT, (0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1)]
STDS.append((0.033, 0.033, 0.067, 0.067))
RULES = {
    "retinanet": matching.RETINANET,
    "rpn": matching.RPN,
    **{f"rcnn_{t}": matching.Thresholds(t, t) for t in (0.5, 0.6, 0.7)},
}


def array(name):
    return jnp.asarray(FILE[name])


def near(got, want, at_most):
    np.testing.assert_allclose(got, want, rtol=0, atol=at_most)


@pytest.mark.parametrize("level", range(5))
def test_anchors(level):
    """The files' anchors are float32."""
    for name, rule, first in (
        ("retinanet", anchors.RETINANET, 8),
        ("rpn", anchors.RPN, 4),
    ):
        got = anchors.base_anchors(rule, first * 2**level)
        np.testing.assert_array_equal(
            got.astype("float32"), FILE[f"anchors/{name}_base_level{level}"]
        )
    size = tuple(FILE["anchors/feature_sizes_hw"][level].tolist())
    got = anchors.level_anchors(anchors.RETINANET, 8 * 2**level, size)
    want = FILE[f"anchors/retinanet_grid_level{level}"]
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("k", range(4))
def test_encode(k):
    got = boxes.encode(array("coder/boxes"), array("coder/targets"), STDS[k])
    np.testing.assert_allclose(got, FILE[f"coder/encode_std{k}"], rtol=2e-6, atol=2e-6)


def test_decode():
    own, deltas = array("coder/boxes"), array("coder/deltas")
    got = boxes.clip(boxes.decode(own, deltas, STDS[1]), jnp.array([200.0, 300.0]))
    np.testing.assert_allclose(got, FILE["coder/decode_std1"], rtol=1e-6, atol=1e-4)
    got = boxes.decode(own, 0.3 * deltas)
    want = FILE["coder/decode_std0_noclip"]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-4)


def test_iou():
    got = boxes.iou(array("assign/gts"), array("assign/boxes"))
    near(got, FILE["assign/iou"], 1e-12)


@pytest.mark.parametrize("name", RULES)
def test_match(name):
    truth, own = FILE["assign/gts"], FILE["assign/boxes"]
    there = jnp.ones(len(truth), bool), jnp.ones(len(own), bool)
    match = jax.jit(matching.match, static_argnums=4)
    got = match(truth, there[0], own, there[1], RULES[name])
    # The files count boxes from 1, background is 0, and what is ignored -1.
    np.testing.assert_array_equal(got, FILE[f"assign/{name}"] - 1)


@pytest.mark.parametrize(
    ("threshold", "kind"),
    [(0.5, "single_class"), (0.7, "single_class"), (0.5, "per_class")],
)
def test_nms(threshold, kind):
    own, scores = array("nms/boxes"), array("nms/scores")
    classes = array("nms/labels") if kind == "per_class" else jnp.zeros(len(own), int)
    valid = jnp.ones(len(own), bool)
    kept = jax.jit(nms.nms, static_argnums=3)(own, scores, valid, threshold, classes)
    want = FILE[f"nms/keep_iou{threshold}_{kind}"]
    assert set(np.flatnonzero(kept)) == set(want)
    best = jax.jit(nms.best_of, static_argnums=(4, 5))
    places, found = best(own, scores, classes, valid, threshold, len(own))
    np.testing.assert_array_equal(np.asarray(places)[np.asarray(found)], want)


def test_focal():
    got = losses.focal(
        jnp.asarray(FILE["focal/logits"]),
        jnp.asarray(FILE["focal/labels_5_is_background"]),
    )
    near(got, FILE["focal/loss_alpha0.25_gamma2"], 1e-12)


@pytest.mark.parametrize(
    ("name", "beta"), [("beta1", 1.0), ("beta0.11", 0.11), ("beta1over9", 1 / 9)]
)
def test_smooth_l1(name, beta):
    difference = jnp.asarray(FILE["smoothl1/pred"] - FILE["smoothl1/target"])
    near(losses.smooth_l1(difference, beta), FILE[f"smoothl1/{name}"], 1e-12)


def test_levels():
    got = roi_align.levels_of(array("levels/rois"), 4)
    np.testing.assert_array_equal(got, FILE["levels/level"])


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [0, 2])
def test_roi_align(samples, aligned):
    """The files' outputs are float32."""
    features = golden.to_nhwc(FILE["roialign/features"])
    grid = roi_align.Grid(7, samples, aligned)
    align = jax.jit(roi_align.align, static_argnums=(2, 3))
    want = FILE[f"roialign/out7_scale0.25_aligned{int(aligned)}_sampling{samples}"]
    for roi, out in zip(FILE["roialign/rois"], want, strict=True):
        image, box = jnp.asarray(features[int(roi[0])]), jnp.asarray(roi[None, 1:])
        got = align(image, box, 4.0, grid)[0]
        np.testing.assert_allclose(got, np.moveaxis(out, 0, -1), rtol=1e-6, atol=1e-6)
