"""The layer's figures for an H100 stay what they are on record."""

import pytest
from support import compiled_again

from benchmarks import results

RECORD = results.read("layer")
H100 = [key for key in RECORD["rows"] if key.startswith("h100") and "auto" in key]
# What may grow by a twentieth, and by how much it may grow where it is about nothing.
GROWTH, LITTLE = 1.05, 0.01


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    return compiled_again.rows("layer", "h100 auto", tmp_path_factory.mktemp("results"))


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
