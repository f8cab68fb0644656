"""The figures of detectors' parts for an H100 stay what they are on record."""

import subprocess
import sys
from pathlib import Path

import jax
import pytest

from benchmarks import detection, results
from train.preflight.compile import COMPILERS, _installed

ROOT = Path(__file__).parents[2]
RECORD = results.read("detection")
KEYS = ("h100 roi_align both", "h100 focal both")
GROWTH = 1.05


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    """The rows as this code compiles them; in a process that has no other devices."""
    if not _installed(COMPILERS["cuda"]):
        pytest.skip(f"{COMPILERS['cuda']} is not installed: pip install '.[preflight]'")
    if jax.__version__ != RECORD["versions"]["jax"]:
        pytest.skip(f"on record is jax {RECORD['versions']['jax']}: make bench")
    folder = tmp_path_factory.mktemp("results")
    words = ["detection", "--only", "h100 both", "--folder", str(folder)]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return results.read("detection", folder)["rows"]


@pytest.mark.parametrize("figure", ["traffic_bytes", "temporary_bytes"])
@pytest.mark.parametrize("key", KEYS)
def test_no_figure_grows(key, figure, now):
    assert now[key][figure] <= RECORD["rows"][key][figure] * GROWTH


@pytest.mark.parametrize("key", detection.BEFORE)
def test_parts_move_no_more_than_the_best_form_tried_before(key):
    """But for what they do more: choose the best 100, and keep padding at 0."""
    row, (traffic, temporary) = RECORD["rows"][key], detection.BEFORE[key]
    share = 1.7 if "suppression" in key else 1.06
    assert row["traffic_bytes"] / 1e9 <= traffic * share
    if temporary is not None:
        assert row["temporary_bytes"] / 1e9 <= temporary * 1.13


@pytest.mark.parametrize("key", [key for key in RECORD["rows"] if "images" in key])
def test_retinanet_has_room_for_16_images_on_an_h100_and_4_on_a_v5e(key):
    assert RECORD["rows"][key]["fits"]
