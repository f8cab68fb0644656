"""Anchors, by numbers written by hand."""

import numpy as np

from prm_flax.detection.anchors import (
    RETINANET,
    RPN,
    AnchorRule,
    all_anchors,
    base_anchors,
    level_anchors,
)


def test_base_anchors_by_hand():
    """The square of 8 strides; the flat one is as large, and twice as wide as high."""
    flat, square, tall = base_anchors(RPN, 4)
    assert square.tolist() == [-16, -16, 16, 16]
    np.testing.assert_allclose(
        flat, [-16 * 2**0.5, -16 / 2**0.5, 16 * 2**0.5, 16 / 2**0.5]
    )
    np.testing.assert_allclose(tall, flat[[1, 0, 3, 2]])


def test_ratios_are_slower_than_scales():
    widths = base_anchors(RETINANET, 8)[:, 2] * 2
    np.testing.assert_allclose(widths[3:6], [32, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)])
    assert RETINANET.per_position == len(widths) == 9


def test_positions_run_along_rows_without_half_a_pixel():
    rule = AnchorRule((1.0,), (1.0,))
    got = level_anchors(rule, 4, (2, 3))
    centres = (got[:, :2] + got[:, 2:]) / 2
    want = [[0, 0], [4, 0], [8, 0], [0, 4], [4, 4], [8, 4]]
    assert centres.tolist() == want


def test_a_move_by_a_stride_is_a_move_by_a_position():
    one = level_anchors(RETINANET, 8, (3, 4)).reshape(3, 4, 9, 4)
    np.testing.assert_allclose(one[:, 1:], one[:, :-1] + np.array([8, 0, 8, 0]))
    np.testing.assert_allclose(one[1:], one[:-1] + np.array([0, 8, 0, 8]))


def test_levels_one_after_the_other():
    got = all_anchors(RPN, (4, 8), ((2, 2), (1, 1)))
    assert got.shape == (3 * 5, 4)
    np.testing.assert_array_equal(got[-3:], base_anchors(RPN, 8))
