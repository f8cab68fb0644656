"""The search for the largest batch, on memories that are a formula."""

import pytest

from train.preflight.batch_search import USABLE, Trial, search_batch

MEMORY = 1000
# Images of nine each, above what is there without any, in the part that is usable.
BEST = (int(MEMORY * USABLE) - 75) // 9


def search(needed, first, step=1, memory=MEMORY, most=10**6):
    """The batch found and those compiled for it."""
    tried = []

    def attempt(batch):
        tried.append(batch)
        return Trial(batch, needed(batch), needed(batch) <= memory)

    start = Trial(first, needed(first), needed(first) <= memory)
    return search_batch(attempt, start, memory, step, most), tried


def test_two_compiles_a_line_and_one_to_confirm():
    assert search(lambda batch: 75 + 9 * batch, 16) == (BEST, [8, BEST])


def test_from_a_batch_that_does_not_fit():
    found, tried = search(lambda batch: 75 + 9 * batch, 400)
    assert (found, tried) == (BEST, [51, BEST])


def test_from_a_batch_that_is_far_too_large():
    found, tried = search(lambda batch: 75 + 9 * batch, 40_000)
    assert (found, tried) == (BEST, [52, BEST])


def test_what_did_not_fit_may_have_given_a_wrong_number():
    """A compiler that finds no room says what it would have needed at its tightest."""

    def needed(batch):
        return 75 + 9 * batch if batch <= 102 else max(75 + 7 * batch, MEMORY + 1)

    assert search(needed, 400) == (BEST, [66, 108, 87, BEST])


def test_a_line_that_promised_too_little_is_corrected_by_what_fits():
    """PRM-ResNet-50 on v5e, in hundredths of a GiB."""

    def needed(batch):
        return 314 + 6 * batch if batch < 1000 else 28127

    assert search(needed, 4096, 32, memory=1600) == (192, [96, 160, 192])


@pytest.mark.parametrize("step", [2, 8, 32])
def test_the_batch_is_a_multiple_of_the_step(step):
    found, tried = search(lambda batch: 75 + 9 * batch, 4 * step, step)
    assert found == BEST // step * step
    assert all(batch % step == 0 for batch in tried)


def test_memory_that_grows_faster_than_a_line():
    found, tried = search(lambda batch: 50 + batch**2 // 10, 16)
    assert found is not None
    assert 50 + found**2 // 10 <= MEMORY
    assert found >= 50  # of 97
    assert len(tried) <= 5


def test_nothing_fits():
    assert search(lambda batch: 2000 + batch, 8) == (None, [1])
    assert search(lambda batch: 2000 + batch, 8, step=8) == (None, [])


def test_no_batch_is_larger_than_an_epoch():
    assert search(lambda batch: 500, 8, step=4, most=61) == (60, [4, 60])
