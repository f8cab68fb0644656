"""The core's tests run with strict dtype promotion."""

import pytest


@pytest.fixture(autouse=True)
def _strict(strict_promotion):
    yield
