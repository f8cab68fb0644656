"""`detect`: the best boxes of an image, whatever batch and padding it comes in."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from support.detectors import BUCKETS, KINDS, SIZES, alone, images, small

from prm_flax.detection import Detections, detect
from prm_flax.detection.detect import Candidates, best_pairs, classes_above, suppress

SLOW = pytest.mark.slow
SCALE = np.array([[1.5, 1.25], [1.0, 1.0], [0.5, 0.75]])
CASES = [(kind, bucket, i) for kind in KINDS for bucket in BUCKETS for i in range(3)]


@functools.cache
def found(kind, bucket):
    model, variables = small(kind)
    scale = jnp.asarray(SCALE)
    return detect(model, variables, images(bucket), jnp.asarray(SIZES), scale, keep=20)


@functools.cache
def by_itself(kind, i):
    model, variables = small(kind)
    x, size = alone(i)
    return detect(model, variables, x, size, jnp.asarray(SCALE[i : i + 1]), keep=20)


def assert_image(got, i, want, j=0):
    """Boxes to 1e-9 pixels, the same decisions."""
    for name in ("labels", "valid"):
        np.testing.assert_array_equal(getattr(got, name)[i], getattr(want, name)[j])
    np.testing.assert_allclose(got.boxes[i], want.boxes[j], 0, 1e-9)
    np.testing.assert_allclose(got.scores[i], want.scores[j], 1e-9)


@pytest.mark.parametrize(
    ("kind", "bucket", "i"),
    [
        pytest.param(*each, marks=() if each == ("retinanet", BUCKETS[0], 2) else SLOW)
        for each in CASES
    ],
)
def test_an_image_s_boxes_are_what_they_are_in_a_batch_of_one(kind, bucket, i, x64):
    want = by_itself(kind, i)
    assert want.valid.any()
    assert_image(found(kind, bucket), i, want)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_devices_do_not_change_the_boxes(kind, count, x64):
    chosen = np.array([0, 1, 2, 0])
    own = jax.devices()[:count]
    mesh = jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=own)
    split = NamedSharding(mesh, PartitionSpec("data"))
    data = images(BUCKETS[0])[chosen], SIZES[chosen], SCALE[chosen]
    model, variables = small(kind)
    got = detect(model, variables, *jax.device_put(data, split), keep=20)
    for i, j in enumerate(chosen):
        assert_image(jax.device_get(got), i, found(kind, BUCKETS[0]), j)


@pytest.mark.parametrize(
    "kind", ["retinanet", pytest.param("cascade_rcnn", marks=SLOW)]
)
def test_boxes_lie_in_the_original_image_best_first(kind, x64):
    got = found(kind, BUCKETS[0])
    assert isinstance(got, Detections)
    limits = np.tile(SIZES[:, ::-1] / SCALE, 2)[:, None]
    assert (got.boxes >= 0).all()
    assert (got.boxes <= limits + 1e-9).all()
    assert (np.diff(got.scores) <= 0).all()
    assert (got.scores[got.valid] > 0.05).all()


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=SLOW) for kind in KINDS])
def test_kept_as_a_program_of_any_batch(kind):
    """Written down, read, and called with three images."""
    model, variables = small(kind, dtype=jnp.float32)
    (b,) = export.symbolic_shape("b")
    given = (
        jax.ShapeDtypeStruct((b, 64, 96, 3), jnp.float32),
        jax.ShapeDtypeStruct((b, 2), jnp.int32),
    )
    run = functools.partial(detect, model, keep=20)
    abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), variables)
    program = export.export(jax.jit(run))(abstract, *given)
    read = export.deserialize(program.serialize())
    x = jnp.asarray(images(BUCKETS[0]), jnp.float32)
    sizes = jnp.asarray(SIZES, jnp.int32)
    got, want = read.call(variables, x, sizes), run(variables, x, sizes)
    near = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-3)
    jax.tree.map(near, got, want)


FOUND = Candidates(
    jnp.array([[[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 24, 8]]], float),
    jnp.array([[0.5, 0.9, 0.4, 0.3]]),
    jnp.array([[1, 1, 0, 1]], jnp.int32),
    jnp.array([[True, True, True, True]]),
)


def test_a_better_box_of_the_class_suppresses_by_hand():
    got = suppress(FOUND, None, 0.5, 5)
    assert got.labels.tolist() == [[1, 0, 1, -1, -1]]
    np.testing.assert_allclose(got.scores[0], [0.9, 0.4, 0.3, 0, 0])
    assert got.valid.tolist() == [[True, True, True, False, False]]
    assert got.boxes[0, 0].tolist() == [0, 0, 10, 9]
    assert not got.boxes[0, 3:].any()


def test_scale_divides_before_the_suppression():
    """By w, h or by w, h, w, h."""
    for scale in ([[2.0, 4.0]], [[2.0, 4.0, 2.0, 4.0]]):
        got = suppress(FOUND, jnp.array(scale), 0.5, 2)
        np.testing.assert_allclose(got.boxes[0], [[0, 0, 5, 2.25], [0, 0, 5, 2.5]])


def test_what_is_not_there_is_not_found():
    got = suppress(FOUND._replace(valid=jnp.zeros((1, 4), bool)), None, 0.5, 3)
    assert not got.valid.any()
    assert set(got.labels.ravel().tolist()) == {-1}


def test_best_pairs_by_hand():
    scores = jnp.array([[[0.1, 0.7], [0.3, 0.04], [0.05, 0.6]]])
    values, boxes, classes = best_pairs(scores, 0.05, 4)
    np.testing.assert_allclose(values, [[0.7, 0.6, 0.3, 0.1]])
    assert boxes.tolist() == [[0, 2, 1, 0]]
    assert classes.tolist() == [[1, 1, 0, 0]]
    assert best_pairs(scores, 0.5, 9)[0].tolist()[0][2:] == [0] * 4


@pytest.mark.parametrize(
    ("score", "most"), [(0.05, 20), (0.3, 4), (0.0, 80), (0.001, 80)]
)
def test_so_many_classes_can_be_above_a_score(score, most):
    assert classes_above(score, 80) == most


def test_a_scale_of_another_shape_is_refused():
    model, variables = small("retinanet", dtype=jnp.float32)
    with pytest.raises(ValueError, match=r"scale must be .* got \(1, 3\)"):
        detect(model, variables, jnp.zeros((1, 64, 64, 3)), None, jnp.ones((1, 3)))
