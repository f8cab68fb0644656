"""A table of transformations, which every subject is put through."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.subjects import NETWORKS, SUBJECTS, Subject, subject

FIRST = "function, dot"


class Table:
    """Transformations by name: of a subject, what came and what is right.

    Attributes:
        of_networks: those that networks are tried under at each change, too, as they
            are made of the modules; `make test-all` has them all.
    """

    def __init__(self, of_networks: Iterable[str]):
        self.of_networks = tuple(of_networks)
        self.rows: dict[str, Callable[[Subject], Any]] = {}

    def row(self, function):
        """Puts a transformation in the table."""
        self.rows[function.__name__] = function
        return function

    def cells(self):
        """The parameters of a test, a cell each; none is left out."""
        return [self._cell(row, name) for row in self.rows for name in SUBJECTS]

    def _cell(self, row, name):
        """At each change one subject under all, the others each under a third."""
        turn = [*self.rows].index(row) + SUBJECTS.index(name)
        quick = (
            row in self.of_networks
            if name in NETWORKS
            else name == FIRST or turn % 3 == 0
        )
        return pytest.param(row, name, marks=() if quick else pytest.mark.slow)

    def check(self, row: str, name: str) -> None:
        """Compares a cell's values."""
        assert_near(*self.rows[row](subject(name)))


def assert_near(got, want):
    """To float64's rounding of the largest number."""

    def near(got, want):
        size = float(jnp.abs(want).max()) if want.size else 0.0
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-8 * size + 1e-12)

    jax.tree.map(near, jax.device_get(got), jax.device_get(want))
