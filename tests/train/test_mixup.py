"""Mixup and CutMix: laws of the mixed images, and chance against its law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from train.tasks.mixup import MixDraws, draw, make_mix, own_weights, symmetric_beta

SHAPE = (12, 7, 9, 2)  # images; their height and width differ
ALPHAS = {"mixup": (0.4, 0.0), "cutmix": (0.0, 1.0), "both": (0.4, 1.0)}
alphas = st.sampled_from(list(ALPHAS.values()))
seeds = st.integers(0, 2**31 - 1)
NEIGHBOUR = np.arange(SHAPE[0]) ^ 1


@functools.cache
def mixing(alphas):
    return jax.jit(make_mix(*alphas))


def mixed(seed, alphas):
    """Images and targets, before and after."""
    images, targets = examples(seed)
    got = mixing(alphas)(jax.random.key(seed), images, targets)
    return images, targets, *map(np.asarray, got)


def examples(seed):
    generator = np.random.default_rng(seed)
    images = generator.normal(size=SHAPE).astype(np.float32)
    return images, np.eye(5, dtype=np.float32)[generator.integers(0, 5, SHAPE[0])]


@given(seeds, alphas)
def test_targets_are_shares_of_the_classes(seed, alphas):
    *_, got = mixed(seed, alphas)
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(1), 1, rtol=1e-6)


@given(seeds, alphas)
def test_pixels_lie_between_those_of_the_two_images(seed, alphas):
    images, _, got, _ = mixed(seed, alphas)
    both = np.stack([images, images[NEIGHBOUR]])
    assert (got >= both.min(0) - 1e-6).all() and (got <= both.max(0) + 1e-6).all()


@given(seeds, alphas)
def test_what_an_image_loses_its_neighbour_gets(seed, alphas):
    for before, after in zip(examples(seed), mixed(seed, alphas)[2:], strict=True):
        want, got = before + before[NEIGHBOUR], after + after[NEIGHBOUR]
        np.testing.assert_allclose(got, want, atol=1e-5)


@given(seeds)
def test_mixup_keeps_the_same_share_of_every_pixel_and_of_the_target(seed):
    images, targets, got, got_targets = mixed(seed, ALPHAS["mixup"])
    own = np.asarray(draw(jax.random.key(seed), SHAPE[0] // 2, ALPHAS["mixup"]).own)
    own = np.repeat(own, 2)[:, None, None, None]
    want = own * images + (1 - own) * images[NEIGHBOUR]
    np.testing.assert_allclose(got, want, atol=1e-5)
    own = own[:, :, 0, 0]
    want = own * targets + (1 - own) * targets[NEIGHBOUR]
    np.testing.assert_allclose(got_targets, want, atol=1e-6)


def foreign(images, got):
    """The pixels (b, h, w) that an image has from its neighbour, the rest its own."""
    own, other = (got == images).all(-1), (got == images[NEIGHBOUR]).all(-1)
    assert (own ^ other).all()
    return other


@given(seeds)
def test_cutmix_pastes_a_box_and_counts_its_pixels(seed):
    images, targets, got, got_targets = mixed(seed, ALPHAS["cutmix"])
    boxes = foreign(images, got)
    np.testing.assert_array_equal(boxes, boxes[NEIGHBOUR])
    for box in boxes:
        np.testing.assert_array_equal(box, np.outer(box.any(1), box.any(0)))
        for line in (box.any(0), box.any(1)):
            assert np.abs(np.diff(np.pad(line, 1).astype(int))).sum() in (0, 2)
    share = boxes.mean((1, 2))[:, None]
    want = (1 - share) * targets + share * targets[NEIGHBOUR]
    np.testing.assert_allclose(got_targets, want, atol=1e-6)


@pytest.mark.parametrize(
    "centre, rows, columns",
    [
        ((0.5, 0.5), range(2, 6), range(4, 12)),  # half of 8 and of 16
        ((0.0, 1.0), range(0, 2), range(12, 16)),  # a quarter of it is inside
    ],
)
def test_a_box_is_as_long_as_the_root_of_what_it_takes(centre, rows, columns):
    draws = MixDraws(jnp.array([True]), jnp.array([0.75]), jnp.array([centre]))
    pixels, own = own_weights(draws, 8, 16)
    want = np.ones((8, 16))
    want[np.ix_(rows, columns)] = 0
    np.testing.assert_array_equal(pixels[0], want)
    np.testing.assert_allclose(own, [[want.mean()]], rtol=1e-6)


def follows(sample, law):
    """Kolmogorov and Smirnov's test at 1 %, away from where float32 is too coarse."""
    at = np.linspace(0.01, 0.99, 99)
    distance = np.abs((np.asarray(sample)[:, None] <= at).mean(0) - law.cdf(at)).max()
    return distance < 1.63 / np.sqrt(len(sample))


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 30.0])
def test_shares_follow_the_beta_distribution(alpha):
    own = symmetric_beta(jax.random.key(1), jnp.full(20_000, alpha))
    assert own.dtype == jnp.float32 and ((own >= 0) & (own <= 1)).all()
    assert follows(own, scipy.stats.beta(alpha, alpha))
    assert not follows(own, scipy.stats.beta(1.5 * alpha, 1.5 * alpha))


def test_a_tiny_alpha_takes_one_image_or_the_other():
    own = np.asarray(symmetric_beta(jax.random.key(1), jnp.full(1000, 1e-4)))
    assert set(own.round(3)) == {0, 1} and 400 < own.sum() < 600


def test_with_both_every_pair_tosses_a_coin_between_its_laws():
    cut, own, centre = jax.device_get(draw(jax.random.key(0), 20_000, (0.2, 2.0)))
    assert abs(cut.mean() - 0.5) < 0.01
    assert follows(own[cut], scipy.stats.beta(2.0, 2.0))
    assert follows(own[~cut], scipy.stats.beta(0.2, 0.2))
    assert follows(centre.ravel(), scipy.stats.uniform)
    assert abs(np.corrcoef([cut, own, *centre.T]) - np.eye(4)).max() < 0.03


def test_with_one_alpha_no_pair_uses_the_other_way():
    for name, chance in (("mixup", 0), ("cutmix", 1)):
        assert draw(jax.random.key(0), 100, ALPHAS[name]).cut.mean() == chance


def test_nothing_to_mix():
    assert make_mix(0.0, 0.0) is None


@pytest.mark.parametrize("images, shards", [(7, 1), (6, 2), (12, 4)])
def test_a_device_with_half_a_pair_is_refused(images, shards):
    rule = rf"whole pairs of images to mix them: {images} images, {shards} devices"
    with pytest.raises(ValueError, match=rule):
        make_mix(0.2, 0.0)(
            jax.random.key(0), jnp.ones((images, 2, 2, 1)), jnp.ones((images, 3)),
            shards=shards,
        )  # fmt: skip
