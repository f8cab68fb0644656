"""The figures of detectors' parts for an H100 stay what they are on record."""

import pytest
from support import compiled_again

from benchmarks import results
from benchmarks.table import BEFORE

RECORD = results.read("detection")
KEYS = ("h100 roi_align both", "h100 focal both")
GROWTH = 1.05


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    return compiled_again.rows(
        "detection", "h100 both", tmp_path_factory.mktemp("results")
    )


@pytest.mark.parametrize("figure", ["traffic_bytes", "temporary_bytes"])
@pytest.mark.parametrize("key", KEYS)
def test_no_figure_grows(key, figure, now):
    assert now[key][figure] <= RECORD["rows"][key][figure] * GROWTH


@pytest.mark.parametrize("key", BEFORE)
def test_parts_move_no_more_than_the_best_form_tried_before(key):
    """But for what they do more: choose the best 100, and keep padding at 0."""
    row, (traffic, temporary) = RECORD["rows"][key], BEFORE[key]
    share = 1.7 if "suppression" in key else 1.06
    assert row["traffic_bytes"] / 1e9 <= traffic * share
    if temporary is not None:
        assert row["temporary_bytes"] / 1e9 <= temporary * 1.13


@pytest.mark.parametrize("key", [key for key in RECORD["rows"] if "images" in key])
def test_retinanet_has_room_for_16_images_on_an_h100_and_4_on_a_v5e(key):
    assert RECORD["rows"][key]["fits"]
