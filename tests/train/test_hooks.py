"""Numbers as a run says them."""

import pytest

from train.hooks import duration


@pytest.mark.parametrize(
    "seconds, said",
    [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3599, "59:59"), (93704, "26:01:44")],
)
def test_durations(seconds, said):
    assert duration(seconds) == said
