"""Time of a training step of one case beside another's, on this machine."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.results import Row
from benchmarks.timing import alternate
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


def _training(case: Case) -> Callable[[], Any]:
    """A training that goes on by a step, of the same images, whenever it is called."""
    experiment = build(config_of(case))
    batches = experiment.input.train(0, 1)
    batch = next(batches)
    batches.close()
    held = {"state": experiment.init()}
    images = experiment.put({name: batch[name] for name in ("image", "label")})

    def step() -> Any:
        held["state"] = experiment.train_step(held["state"], images)
        return held["state"]

    return step
