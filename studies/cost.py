"""Time of a training step of one case beside another's, on this machine."""

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.results import Row
from benchmarks.timing import alternate
from benchmarks.wall import Training
from studies.case import Case, config_of
from train.build import build

PACKAGES = ("jax", "jaxlib", "flax", "optax")
TIMED = True
ROUNDS = 31


def rows(
    cases: Mapping[str, Case], compared: Mapping[str, str]
) -> dict[str, Callable[[], Row]]:
    """Case -> what measures its step and another's in turn, in one process.

    The row has the case's median of seconds and the median over the rounds of its
    seconds divided by the other's of the same round.

    Args:
        cases: of a study.
        compared: name of a case -> of the one beside it.
    """
    return {
        name: partial(_compare, cases[other], cases[name])
        for name, other in compared.items()
    }


def _compare(plain: Case, case: Case) -> Row:
    ways = {one.name: _training(one) for one in (plain, case)}
    return alternate(ways, ROUNDS)[case.name]


def _training(case: Case) -> Training:
    """A training of the case on the first batch of its data."""
    experiment = build(config_of(case))
    batches = experiment.input.train(0, 1)
    batch = next(batches)
    batches.close()
    return Training(experiment, {name: batch[name] for name in ("image", "label")})
