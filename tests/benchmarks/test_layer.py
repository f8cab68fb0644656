"""The layer's figures for an H100 stay what they are on record."""

import subprocess
import sys
from pathlib import Path

import jax
import pytest

from benchmarks import results
from train.preflight.compile import COMPILERS, _installed

ROOT = Path(__file__).parents[2]
RECORD = results.read("layer")
H100 = [key for key in RECORD["rows"] if key.startswith("h100") and "auto" in key]
# What may grow by a twentieth, and by how much it may grow where it is about nothing.
GROWTH, LITTLE = 1.05, 0.01


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    """The rows as this code compiles them; in a process that has no other devices."""
    if not _installed(COMPILERS["cuda"]):
        pytest.skip(f"{COMPILERS['cuda']} is not installed: pip install '.[preflight]'")
    if jax.__version__ != RECORD["versions"]["jax"]:
        pytest.skip(f"on record is jax {RECORD['versions']['jax']}: make bench")
    folder = tmp_path_factory.mktemp("results")
    words = ["layer", "--only", "h100 auto", "--folder", str(folder)]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return results.read("layer", folder)["rows"]


def test_the_record_is_whole():
    assert len(H100) == 8


@pytest.mark.parametrize("figure", ["traffic", "temporary", "kernels"])
@pytest.mark.parametrize("key", H100)
def test_no_figure_grows(key, figure, now):
    before = RECORD["rows"][key][figure]
    assert now[key][figure] <= before * GROWTH + LITTLE


@pytest.mark.parametrize("key", H100)
def test_every_pass_is_a_kernel(key, now):
    assert now[key]["own_kernels"] == (2 if " both " in key else 1)
