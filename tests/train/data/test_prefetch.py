"""Batches reach the devices before they are asked for; waiting is measured."""

import pytest

from train.data import prefetch as module
from train.data.prefetch import DevicePrefetch


class Clock:
    """Time that passes only where a test says so."""

    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def numbers(count, seen):
    for number in range(count):
        seen.append(number)
        yield {"number": number}


def test_all_batches_come_in_order():
    feed = DevicePrefetch(numbers(7, []), put=lambda batch: batch["number"] * 10)
    assert list(feed) == [0, 10, 20, 30, 40, 50, 60]


def test_the_next_batch_is_on_its_way_while_one_is_used():
    put = []
    feed = DevicePrefetch(numbers(5, []), put=put.append, ahead=2)
    batches = iter(feed)
    for used in range(1, 6):
        next(batches)
        assert len(put) == min(used + 2, 5)


def test_waiting_is_counted_since_the_last_question(clock):
    def slow():
        for batch in numbers(3, []):
            clock.now += 2
            yield batch

    feed = DevicePrefetch(slow(), put=lambda batch: batch)
    list(feed)
    assert feed.take_waited() == 3 * 2
    assert feed.take_waited() == 0


def test_using_a_batch_is_not_waiting(clock):
    feed = DevicePrefetch(numbers(3, []), put=lambda batch: batch)
    for _ in feed:
        clock.now += 2
    assert feed.take_waited() == 0


def test_closing_ends_the_source():
    ended = []

    def source():
        try:
            yield {}
            yield {}
            yield {}
        finally:
            ended.append(True)

    feed = DevicePrefetch(source(), put=lambda batch: batch)
    next(iter(feed))
    feed.close()
    assert ended == [True]
