"""Enlarging and scaling of maps: by hand, and what holds of all."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prm_flax.figures.maps import enlarged, in_unit_range

sizes = st.integers(1, 7)
maps = st.tuples(sizes, sizes).flatmap(
    lambda shape: arrays(np.float64, (2, *shape), elements=st.floats(-1e6, 1e6))
)


def test_middles_are_at_half_numbers():
    want = [[0, 0.5, 1.5, 2], [1, 1.5, 2.5, 3], [3, 3.5, 4.5, 5], [4, 4.5, 5.5, 6]]
    assert enlarged([[0, 2], [4, 6]], (4, 4)).tolist() == want


@given(maps, sizes, sizes)
def test_it_is_jaxs_bilinear_resize(values, up, across):
    b, h, w = values.shape
    shape = b, h * up, w * across
    with jax.enable_x64(True):
        want = jax.image.resize(values, shape, "bilinear", antialias=False)
    got = enlarged(values, shape[1:])
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9 * np.abs(values).max())


@given(maps)
def test_its_own_size_leaves_a_map_as_it_is(values):
    np.testing.assert_array_equal(enlarged(values, values.shape[1:]), values)


@given(maps, st.integers(1, 20), st.integers(1, 20))
def test_no_value_leaves_the_maps_range(values, height, width):
    large = enlarged(values, (height, width))
    room = 1e-9 * np.abs(values).max()
    for one, of in zip(large, values, strict=True):
        assert of.min() - room <= one.min() and one.max() <= of.max() + room


@given(maps)
def test_the_unit_range_is_reached_by_each_map(values):
    for scaled, of in zip(in_unit_range(values), values, strict=True):
        assert scaled.min() == 0
        assert scaled.max() == pytest.approx(float(np.ptp(of) > 0))
