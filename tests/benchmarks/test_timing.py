"""Ways are run in turn; their figures are medians of the same rounds."""

import itertools

import pytest

from benchmarks import timing
from benchmarks.timing import WARM, alternate


@pytest.fixture
def taking(monkeypatch):
    """`taking(*seconds)`: a way that takes these, run after run, by a made clock."""
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def way(*seconds):
        turns = itertools.chain([100.0] * WARM, seconds)  # compilation
        return lambda: clock.__setitem__(0, clock[0] + next(turns))

    return way


def test_every_way_runs_in_every_round_and_neither_is_always_first():
    order = []
    alternate({name: lambda name=name: order.append(name) for name in "ab"}, 2)
    rounds = [order[i : i + 2] for i in range(0, len(order), 2)]
    assert rounds == [["b", "a"], ["a", "b"]] * ((WARM + 2) // 2)


def test_medians_and_least_times_leave_the_first_rounds_out(taking):
    found = alternate({"a": taking(3.0, 1.0, 2.0)}, 3)["a"]
    assert (found["median_seconds"], found["least_seconds"]) == (2.0, 1.0)


def test_a_ratio_is_within_its_round(taking):
    """The machine slows down by ten, and all rounds still have the ratio of two."""
    ways = {"a": taking(1.0, 10.0, 100.0), "b": taking(2.0, 20.0, 200.0)}
    found = alternate(ways, 3)
    assert (found["a"]["ratio"], found["b"]["ratio"]) == (1.0, 2.0)


def test_waiting_takes_no_processor_time(taking):
    assert alternate({"a": taking(5.0)}, 1)["a"]["user_seconds"] < 5
