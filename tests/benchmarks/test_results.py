"""Rows are kept as they come, and never mixed with those of other versions."""

import json

import pytest

from benchmarks.results import ResultsFile, read


@pytest.fixture
def file(tmp_path):
    return tmp_path / "some.json"


def measured(file, key, figure, again=False, timed=False, packages=("jax",)):
    """The rows after one is asked for."""
    ResultsFile(file, packages, timed).fill({key: lambda: {"figure": figure}}, again)
    rows = read("some", file.parent)["rows"]
    return {name: row["figure"] for name, row in rows.items()}


def change(file, **fields):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_a_measured_row_is_kept(file):
    assert measured(file, "a", 1) == {"a": 1}
    assert measured(file, "a", 2) == {"a": 1}


def test_again_measures_anew(file):
    measured(file, "a", 1)
    assert measured(file, "a", 2, again=True) == {"a": 2}


def test_rows_before_an_error_are_kept(file):
    def fails():
        raise RuntimeError("no chip")

    with pytest.raises(RuntimeError, match="no chip"):
        ResultsFile(file, ("jax",), False).fill(
            {"a": lambda: {"figure": 1}, "b": fails}
        )
    assert measured(file, "b", 2) == {"a": 1, "b": 2}


def test_rows_of_other_versions_are_dropped(file):
    measured(file, "a", 1)
    change(file, versions={"jax": "0.0.1"})
    assert measured(file, "b", 2) == {"b": 2}


def test_a_package_that_is_gone_drops_nothing(file):
    measured(file, "a", 1)
    assert measured(file, "b", 2, packages=("no-such-package",)) == {"a": 1, "b": 2}


@pytest.mark.parametrize("timed, kept", [(True, {"b": 2}), (False, {"a": 1, "b": 2})])
def test_another_processor_drops_times_alone(file, timed, kept):
    measured(file, "a", 1)
    change(file, cpu="another")
    assert measured(file, "b", 2, timed=timed) == kept


def test_two_at_a_time_keep_each_other_s_rows(file):
    first = ResultsFile(file, ("jax",), False)
    measured(file, "b", 2)
    first.fill({"a": lambda: {"figure": 1}})
    assert read("some", file.parent)["rows"].keys() == {"a", "b"}
