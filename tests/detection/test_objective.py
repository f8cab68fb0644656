"""A detector's loss: no function of batch, bucket, padding, or number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from support.detectors import (
    BUCKETS,
    CLASSES,
    KINDS,
    SIZES,
    alone,
    images,
    small,
    targets,
)

from prm_flax.detection import detection_loss, pad_targets
from prm_flax.detection.objective import Summed, normalised

KEYS = (3, 1, 4)
SLOW = pytest.mark.slow


def keys(chosen=(0, 1, 2)):
    return jnp.stack([jax.random.key(KEYS[i]) for i in chosen])


@functools.cache
def program(kind, **options):
    """(variables, images, sizes, targets, key) -> the total and the losses."""
    model = small(kind).model

    @jax.jit
    def run(variables, images, sizes, targets, key, weights=None):
        return detection_loss(
            model, variables, images, sizes, targets, key, weights=weights, **options
        )[:2]

    return functools.partial(run, small(kind).variables)


@functools.cache
def by_itself(kind, i):
    """Total and losses of image i in its own bucket."""
    return program(kind)(*alone(i), targets(chosen=(i,)), keys((i,)))


def assert_near(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-12), got, want)


CASES = [(kind, bucket, i) for kind in KINDS for bucket in BUCKETS for i in range(3)]
# Cascade R-CNN's parts are tried apart at each change, in test_rpn and test_roi_head.
QUICK = {("retinanet", BUCKETS[0], i) for i in range(3)}


@pytest.mark.parametrize(
    ("kind", "bucket", "i"),
    [pytest.param(*each, marks=() if each in QUICK else SLOW) for each in CASES],
)
def test_an_image_s_loss_is_what_it_is_in_a_batch_of_one(kind, bucket, i, x64):
    """In a batch of three, of which two weigh nothing."""
    batch = images(bucket), SIZES, targets(places=6), keys()
    got = program(kind)(*batch, np.eye(3)[i])
    assert_near(got, by_itself(kind, i))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_one_to_four(kind, count, x64):
    chosen = (2, 1, 0, 2)[:count]
    batch = images(BUCKETS[1])[np.array(chosen)], SIZES[list(chosen)]
    weights = np.eye(count)[0]
    got = program(kind)(*batch, targets(chosen=chosen), keys(chosen), weights)
    assert_near(got, by_itself(kind, 2))


@functools.cache
def of_four(kind):
    """Four images, and their losses on one device."""
    chosen = (0, 1, 2, 0)
    truth = jax.tree.map(jnp.asarray, targets(chosen=chosen))
    x, sizes = images(BUCKETS[0])[np.array(chosen)], jnp.asarray(SIZES[list(chosen)])
    data = x, sizes, truth, keys(chosen)
    return data, jax.device_get(program(kind)(*data))


@pytest.mark.parametrize(
    ("kind", "count"),
    [("retinanet", 4), *(pytest.param(kind, 2, marks=SLOW) for kind in KINDS)],
)
def test_devices_do_not_change_the_loss(kind, count, x64):
    data, want = of_four(kind)
    own = jax.devices()[:count]
    mesh = jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=own)
    split = NamedSharding(mesh, PartitionSpec("data"))
    got = program(kind)(*jax.device_put(data, split))
    assert_near(jax.device_get(got), want)


@pytest.mark.parametrize(
    "kind", ["retinanet", pytest.param("cascade_rcnn", marks=SLOW)]
)
def test_the_mean_over_a_pmap_is_the_loss_of_the_whole(kind, x64):
    data, want = of_four(kind)
    model, variables = small(kind)

    @functools.partial(jax.pmap, axis_name="data", in_axes=(None, 0))
    def each(variables, data):
        found = detection_loss(model, variables, *data, axis="data")[:2]
        return jax.lax.pmean(found, "data")

    got = each(variables, jax.tree.map(lambda a: a[:, None], data))
    assert_near(jax.tree.map(lambda a: a[0], got), want)


class TestNormalised:
    sums = jnp.array([[1.0, 2.0], [3.0, 4.0], [10.0, 0.0], [0.0, 5.0]])
    loss = Summed(sums, jnp.array([1.0, 3.0, 2.0, 4.0]))
    ones = jnp.ones(4)

    def test_the_sums_over_the_sum_of_the_divisors(self):
        assert normalised(self.loss, self.ones, None, None) == 25 / 10

    def test_images_that_only_fill_the_batch(self):
        weights = jnp.array([1.0, 0.0, 1.0, 0.0])
        assert normalised(self.loss, weights, None, None) == 13 / 3
        assert normalised(self.loss, 0 * self.ones, None, None) == 0

    def test_as_the_reference_on_each_of_its_devices(self):
        got = normalised(self.loss, self.ones, 2, None)
        assert got == pytest.approx((10 / 4 + 15 / 6) / 2)
        weights = jnp.array([1.0, 1.0, 0.0, 0.0])
        assert normalised(self.loss, weights, 2, None) == pytest.approx(10 / 4)

    @pytest.mark.parametrize("images", [None, 1])
    def test_a_mean_over_devices_is_that_of_the_whole(self, images):
        def of_device(loss, weights):
            found = normalised(loss, weights, images, "data")
            return jax.lax.pmean(found, "data")

        split = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), self.loss)
        got = jax.vmap(of_device, axis_name="data")(split, jnp.ones((2, 2)))
        want = normalised(self.loss, self.ones, images, None)
        np.testing.assert_allclose(got, want, 1e-6)

    def test_a_batch_that_is_no_multiple(self):
        with pytest.raises(ValueError, match="images_per_divisor=3 must divide"):
            normalised(self.loss, self.ones, 3, None)


NOISE = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype(np.float32)
# Of one image: boxes, labels, crowds.
TRUTHS = {
    "no box": ([], [], []),
    "of no height": ([[5, 20, 40, 20], [8, 8, 8, 30]], [0, 1], [0, 0]),
    "one": ([[5, 20, 40, 50]], [0], [0]),
    "one with those of no height": (
        [[5, 20, 40, 20], [5, 20, 40, 50], [8, 8, 8, 30]],
        [0, 0, 1],
        [0, 0, 0],
    ),
    "one and a crowd": ([[5, 20, 40, 50], [0, 0, 60, 60]], [0, 1], [0, 1]),
    "only a crowd": ([[0, 0, 64, 64]], [1], [1]),
    "a thousand": (
        [[i % 40, i // 40, i % 40 + 9, i // 40 + 8] for i in range(1000)],
        [i % CLASSES for i in range(1000)],
        [0] * 1000,
    ),
}


@functools.cache
def with_gradients(kind):
    model, variables = small(kind, dtype=jnp.float32)

    @jax.jit
    def run(targets):
        def loss(params):
            both = variables | {"params": params}
            key = jax.random.key(0)
            found = detection_loss(
                model,
                both,
                jnp.asarray(NOISE),
                None,
                targets,
                key,
            )
            return found[:2]

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    return run


@functools.cache
def of_truth(kind, name):
    boxes, labels, crowds = ([each] for each in TRUTHS[name])
    truth = pad_targets(boxes, labels, 1000, crowds)
    return with_gradients(kind)(truth)


def assert_finite(tree):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_finite_whatever_there_is(kind, name):
    (total, losses), gradients = of_truth(kind, name)
    assert_finite((total, losses, gradients))
    boxes = [losses[n] for n in losses if n.endswith("loss_bbox")]
    assert any(boxes) == (name in ("one", "a thousand") or "one " in name)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_found_counts_as_if_it_were_not_there(kind):
    """Boxes of no height, and crowds, which are background unless asked otherwise."""
    pairs = [
        ("of no height", "no box"),
        ("only a crowd", "no box"),
        ("one with those of no height", "one"),
        ("one and a crowd", "one"),
    ]
    for name, other in pairs:
        got, want = of_truth(kind, name), of_truth(kind, other)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), got, want
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_any_place_for_a_box(kind):
    model, variables = small(kind, dtype=jnp.float32)
    given = model, variables, jnp.asarray(NOISE), None, pad_targets([[]], [[]], 0)
    found = jax.eval_shape(lambda: detection_loss(*given, jax.random.key(0))[:2])
    assert {leaf.shape for leaf in jax.tree.leaves(found)} == {()}


def test_what_is_refused():
    model, variables = small("cascade_rcnn", dtype=jnp.float32)
    given = (
        model,
        variables,
        jnp.zeros((1, 64, 64, 3)),
        None,
        pad_targets([[]], [[]], 1),
    )
    with pytest.raises(ValueError, match="detection_loss needs a key"):
        jax.eval_shape(lambda: detection_loss(*given, None))
    with pytest.raises(ValueError, match="sampling must be one of"):
        detection_loss(*given, None, sampling="some")
