"""Time and memory of a training step of one case beside another's, on this machine."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax

from benchmarks.results import Row
from benchmarks.timing import alternate
from benchmarks.wall import Training
from studies.case import Case, config_of
from train.cli import keep_compiled_programs
from train.experiment import build
from train.preflight.estimate import memory_of

PACKAGES = ("jax", "jaxlib", "flax", "optax")
TIMED = True
ROUNDS = 31


def rows(
    cases: Mapping[str, Case], compared: Mapping[str, str]
) -> dict[str, Callable[[], Row]]:
    """Case -> what measures its step and another's in turn, in one process.

    The row has the case's median of seconds and the median over the rounds of its
    seconds divided by the other's of the same round; and the memory that the compiler
    planned for the case's step, with state and batch.

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
    row = alternate(ways, ROUNDS)[case.name]
    return {**row, "step_megabytes": round(_memory(ways[case.name]) / 1e6, 1)}


def _memory(training: Training) -> int:
    """Bytes."""
    step: Any = training.step
    traced = step.trace(training.state, training.batch)
    with jax.set_mesh(step.mesh):
        return memory_of(traced.lower().compile()).total


def _training(case: Case) -> Training:
    """A training of the case on the first batch of its data."""
    keep_compiled_programs()
    experiment = build(config_of(case))
    batches = experiment.input.train(0, 1)
    batch = next(batches)
    batches.close()
    return Training(experiment, {name: batch[name] for name in ("image", "label")})
