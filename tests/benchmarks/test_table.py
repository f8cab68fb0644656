"""The README holds the tables of the results on record."""

from pathlib import Path

import pytest

from benchmarks import accelerator, results
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.table import table

ELSEWHERE = "accelerator"
README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_readme_holds_the_table():
    assert table() in README


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != ELSEWHERE])
def test_every_row_on_record_is_still_a_row(name):
    module = __import__(f"benchmarks.{name}", fromlist=["cases"])
    assert results.read(name)["rows"].keys() <= module.cases().keys()


def test_every_row_of_another_machine_is_still_a_row():
    record = results.read(ELSEWHERE)["rows"]
    assert {key.partition(", ")[2] for key in record} <= accelerator.rows().keys()


def test_times_of_an_accelerator_are_refused_where_there_is_none(capsys):
    assert main([ELSEWHERE, "--only", "7×7 forward"]) == 2
    assert "JAX finds the processor alone" in capsys.readouterr().err


def test_a_kernel_is_as_right_on_a_gpu_as_the_definition():
    """Both are off what float32 gives by the rounding of bfloat16."""
    for key, row in results.read(ELSEWHERE)["rows"].items():
        if "layer" in key:
            found, plain = (
                row["errors"][name] for name in ("kernels", "straightforward")
            )
            assert all(a < 1.05 * b for a, b in zip(found, plain, strict=True)), key


def test_an_unknown_row(capsys):
    assert main(["layer", "--only", "h200"]) == 2
    assert "layer has no row with 'h200'" in capsys.readouterr().err
