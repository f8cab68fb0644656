"""Loss and accuracy, against their formulas."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.tasks.metrics import Metrics, cross_entropy, is_among_top, measure, scalars

LOGITS = np.random.default_rng(0).normal(0, 3, (7, 6)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 5, 0], np.int32)


def numpy_cross_entropy(logits, labels, smoothing=0.0):
    logits = np.asarray(logits, np.float64)
    top = logits.max(-1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    classes = logits.shape[-1]
    targets = np.full(logits.shape, smoothing / classes)
    targets[np.arange(len(labels)), labels] += 1 - smoothing
    return -(targets * log_p).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy(smoothing):
    got = cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS), smoothing)
    want = numpy_cross_entropy(LOGITS, LABELS, smoothing)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_cross_entropy_of_huge_logits_is_finite():
    got = cross_entropy(jnp.array([[1e30, 0.0], [1e30, 0.0]]), jnp.array([0, 1]))
    np.testing.assert_array_equal(got, np.array([0, 1e30], np.float32))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_cross_entropy_of_half_precision_logits_is_float32(dtype):
    logits = jnp.asarray(LOGITS, dtype)
    got = cross_entropy(logits, jnp.asarray(LABELS))
    assert got.dtype == jnp.float32
    want = numpy_cross_entropy(logits.astype(jnp.float32), LABELS)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def among_top(logits, label, k):
    return float(is_among_top(jnp.array([logits]), jnp.array([label]), k)[0])


small = st.lists(st.integers(0, 3), min_size=6, max_size=6)  # ties are frequent


@given(small, st.integers(0, 5), st.integers(1, 6))
def test_of_equal_logits_the_lower_class_is_ahead(logits, label, k):
    best = np.argsort(-np.array(logits), kind="stable")[:k]
    assert among_top([float(x) for x in logits], label, k) == (label in best)


def test_a_constant_network_is_right_on_one_class_only():
    assert [among_top([2.0] * 4, label, 1) for label in range(4)] == [1, 0, 0, 0]


@pytest.mark.parametrize("k", [1, 3, 9])
def test_nan_is_never_right(k):
    assert among_top([np.nan, np.nan, np.nan], 0, k) == 0
    assert among_top([0.0, np.nan, 1.0], 1, k) == 0


def test_more_places_than_classes_is_always_right():
    assert [among_top([3.0, 1.0, 2.0], label, 5) for label in range(3)] == [1, 1, 1]


def metrics_of(logits, labels, mask=None):
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    mask = None if mask is None else jnp.asarray(mask, jnp.float32)
    return measure(cross_entropy(logits, labels), logits, labels, mask)


def test_accuracies_are_percent():
    logits = np.eye(8, dtype=np.float32)[[0, 1, 2, 3]]
    numbers = scalars(metrics_of(logits, np.array([0, 1, 2, 7])))
    assert numbers["top1"] == 75
    # Behind its one larger logit and those of six lower classes.
    assert numbers["top5"] == 75


def test_masked_images_do_not_count():
    mask = [1, 0, 1, 1, 0, 0, 1]
    seen = np.flatnonzero(mask)
    garbage = np.where(np.array(mask)[:, None] == 1, LOGITS, 1e6).astype(np.float32)
    got = scalars(metrics_of(garbage, LABELS, mask))
    assert got == pytest.approx(scalars(metrics_of(LOGITS[seen], LABELS[seen])))


@given(st.lists(st.sampled_from([1, 2, 5]), min_size=2, max_size=3), st.integers(0, 9))
@settings(max_examples=6)
def test_averages_over_unequal_batches_are_those_over_the_union(sizes, seed):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(sum(sizes), 6)).astype(np.float32)
    labels = generator.integers(0, 6, sum(sizes))
    total, at = Metrics.empty(), 0
    for size in sizes:
        part = slice(at, at + size)
        total, at = total.merge(metrics_of(logits[part], labels[part])), at + size
    want = scalars(metrics_of(logits, labels))
    assert scalars(total) == pytest.approx(want, rel=1e-5)
