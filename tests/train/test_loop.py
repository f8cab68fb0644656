"""What happens after which step, with hooks that only take notes."""

import dataclasses
from typing import Any

import pytest

from train import loop
from train.loop import Cadence, Clock, Loop

EVERYTHING = Cadence(total=7, log=2, evaluate=3, save=4)


@dataclasses.dataclass
class Notes:
    """Hooks that write down their calls, and can do something besides."""

    seen: list[Any] = dataclasses.field(default_factory=list)
    besides: Any = lambda name, step: None
    late: tuple[int, ...] = ()
    best: tuple[int, ...] = ()

    def log(self, step, state):
        self._note("log", step, state)
        return state

    def evaluate(self, step, state):
        self._note("evaluate", step, state)
        return step in self.best

    def overdue(self):
        name, step = self.seen[-1]
        assert name == "log"
        return step in self.late

    def save(self, step, state):
        self._note("save", step, state)

    def _note(self, name, step, state):
        assert state == step
        self.seen.append((name, step))
        self.besides(name, step)

    def of(self, name):
        return [step for what, step in self.seen if what == name]


class StopAfter(list):
    """False until something is in it."""

    def after(self, step):
        return bool(self)


def run(notes, start=0, cadence=EVERYTHING, stop=None, clock=None):
    """A run whose state is the number of steps; its batches are theirs too."""
    stop = StopAfter() if stop is None else stop

    def train_step(state, batch):
        assert batch == state
        notes.seen.append(("step", state + 1))
        return state + 1

    clock = clock or Clock()
    batches = iter(range(start, cadence.total))
    return Loop(cadence, train_step, notes, clock, stop).run(start, start, batches)


def test_after_a_step_it_logs_evaluates_and_saves_in_this_order():
    notes = Notes()
    assert run(notes, cadence=Cadence(total=2, log=1, evaluate=1, save=1)) == 2
    one_step = ["step", "log", "evaluate", "save"]
    assert notes.seen == [(name, step) for step in (1, 2) for name in one_step]


def test_each_at_its_own_pace_and_all_at_the_end():
    notes = Notes()
    run(notes)
    assert notes.of("step") == [1, 2, 3, 4, 5, 6, 7]
    assert notes.of("log") == [2, 4, 6, 7]
    assert notes.of("evaluate") == [3, 6, 7]
    assert notes.of("save") == [4, 7]


def test_a_save_that_is_overdue_comes_after_the_next_report():
    notes = Notes(late=(2, 4))
    run(notes)
    assert notes.of("save") == [2, 4, 7]


def test_the_best_so_far_is_saved_after_its_evaluation():
    notes = Notes(best=(3, 6))
    run(notes)
    assert notes.of("save") == [3, 4, 6, 7]


@pytest.mark.parametrize("start", range(1, 8))
def test_a_resumed_run_does_what_the_whole_one_had_left(start):
    whole, resumed = Notes(), Notes()
    run(whole)
    assert run(resumed, start=start) == 7
    left = [(name, step) for name, step in whole.seen if step > start]
    # At a boundary the evaluation comes first: the hook knows whether it is on record.
    made_up = [("evaluate", start)] if start in (3, 6, 7) else []
    assert resumed.seen == made_up + left


def test_a_run_that_has_not_begun_evaluates_nothing():
    notes = Notes()
    run(notes, cadence=Cadence(total=2, log=5, evaluate=5, save=5))
    assert notes.seen[0] == ("step", 1)


def stopped_at(step, during, cadence=EVERYTHING, start=0):
    """A run that is asked to stop at a moment of a step."""
    stop = StopAfter()
    notes = Notes(besides=lambda *what: what == (during, step) and stop.append(1))
    state = run(notes, start=start, cadence=cadence, stop=stop)
    return notes, state


@pytest.mark.parametrize("during, step", [("log", 2), ("log", 6), ("evaluate", 3)])
def test_a_stop_saves_exactly_the_step_in_flight(during, step):
    notes, state = stopped_at(step, during)
    assert state == step
    assert notes.of("step")[-1] == step
    assert notes.seen[-1] == ("save", step)


def test_a_stop_before_the_evaluation_leaves_it_to_the_resumed_run():
    notes, state = stopped_at(6, "log")
    assert notes.of("evaluate") == [3]
    resumed = Notes()
    run(resumed, start=state)
    assert resumed.seen == [("evaluate", 6), ("step", 7)] + [
        (name, 7) for name in ("log", "evaluate", "save")
    ]


def test_a_stop_during_a_save_ends_after_the_next_step_which_is_saved():
    notes, state = stopped_at(4, "save")
    assert state == 5
    assert notes.of("save") == [4, 5]


def test_a_stop_at_the_last_step_saves_once():
    notes, state = stopped_at(7, "log")
    assert state == 7
    assert notes.of("save") == [4, 7]


@pytest.mark.parametrize("during, step", [("log", 2), ("evaluate", 3), ("save", 4)])
def test_stopped_and_resumed_takes_every_step_once(during, step):
    notes, state = stopped_at(step, during)
    resumed = Notes()
    run(resumed, start=state)
    assert notes.of("step") + resumed.of("step") == [1, 2, 3, 4, 5, 6, 7]


class FakeTime:
    """A clock that is set by hand."""

    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def time(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr(loop, "time", fake)
    return fake


def test_the_clock_leaves_evaluation_out(time):
    costs = {"log": 1.0, "evaluate": 1000.0, "save": 10.0}

    def pass_time(name, step):
        time.now += costs[name]

    notes, clock = Notes(besides=pass_time), Clock(5.0)
    run(notes, clock=clock)
    assert clock.seconds == clock.read() == 5 + 4 * costs["log"] + 2 * costs["save"]


def test_the_clock_goes_on_while_it_runs(time):
    clock = Clock(2.0)
    with clock.running():
        time.now += 3
        assert clock.read() == 5
        with clock.paused():
            time.now += 100
            assert clock.read() == 5
        time.now += 1
    time.now += 100
    assert clock.read() == 6


def test_the_clock_stops_at_an_error(time):
    clock = Clock()
    with pytest.raises(ZeroDivisionError), clock.running():
        time.now += 3
        raise ZeroDivisionError
    time.now += 100
    assert clock.read() == 3
