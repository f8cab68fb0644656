"""Which row a run fills: the same network, trained from nothing on ImageNet."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn

from prm_flax.backbones.registry import create_model
from prm_flax.paper.form import Table
from prm_flax.paper.measure import SIZE, counts, network
from prm_flax.printable import printable
from prm_flax.runs import CONFIG, Run

TRAIN_IMAGES = 1_281_167
# Where ImageNet's images can come from; other sets do too, with other numbers.
SOURCES = ("imagenet2012", "image_folder")
# Options that make another network of the same name. ddof is not one: the authors'
# program has 1, the paper's formula 0. All others are ways to train the same one.
OPTIONS = ("groups", "normalize", "position", "similarity", "stem")


def placed(table: Table, runs: Sequence[Run]) -> tuple[dict[int, Run], tuple[str, ...]]:
    """Finds the row of each run.

    Returns:
        Index of a row -> its run; and why the other runs fill none, a line each.

    Raises:
        ValueError: two runs for one row, or a run of a network that cannot be.
    """
    found: dict[int, Run] = {}
    unused: list[str] = []
    for run in runs:
        reason, rows = unfit(table, run), rows_of(table, run)
        if reason:
            unused.append(f"{printable(run.folder)} is not used: {reason}.")
            continue
        (index,) = rows
        if index in found:
            raise ValueError(
                f"a row takes one run: {found[index].folder} and {run.folder} are both "
                f"of {' '.join(table.rows[index].labels)}. Leave one of them out."
            )
        found[index] = run
    return found, tuple(unused)


def unfit(table: Table, run: Run) -> str:
    """Why a run fills no row of the table; "" if it fills one."""
    if any(row.kind != "classifier" for row in table.rows):
        return f"it is a run of a classifier, Table {table.number} is of detectors"
    reasons = (rule(run, f"Table {table.number}") for rule in RULES)
    reason = next(filter(None, reasons), "")
    if reason or rows_of(table, run):
        return reason
    options = [f"{name} {value!r}" for name, value in _options(run).items()]
    network = ", ".join([run.model, *options])
    return (
        f"no row of Table {table.number} is {network} with {run.parameters:,} "
        "parameters"
    )


def rows_of(table: Table, run: Run) -> list[int]:
    """Indices of the rows with the run's network."""
    trained = _network(run)
    return [
        index
        for index, row in enumerate(table.rows)
        if network(row) == trained and counts(row).parameters == run.parameters
    ]


def _dataset(run: Run, table: str) -> str:
    wrong = f"it is a run of {run.source!r}, not of ImageNet, the dataset of {table}"
    return "" if run.source in SOURCES else wrong


def _passes(run: Run, table: str) -> str:
    if run.steps == run.epochs * (TRAIN_IMAGES // run.batch_size):
        return ""
    return (
        f"{run.steps:,} steps of {run.batch_size} images are not {run.epochs} passes "
        f"over the {TRAIN_IMAGES:,} images of ImageNet, the dataset of {table}"
    )


def _size(run: Run, table: str) -> str:
    side = run.config.get("data.image_size")
    wrong = f"its images have {side!r} pixels a side, those of {table} {SIZE[0]}"
    return "" if side == SIZE[0] else wrong


def _start(run: Run, table: str) -> str:
    file = run.config.get("init.file")
    wrong = f"it started from the weights {file!r}, the networks of {table} from none"
    return "" if file is None else wrong


# What is wrong with a run for a table of ImageNet, or "".
RULES: tuple[Callable[[Run, str], str], ...] = (_dataset, _passes, _size, _start)


def _options(run: Run) -> dict[str, Any]:
    given = {name: run.config.get(f"model.{name}") for name in OPTIONS}
    return {name: value for name, value in given.items() if value is not None}


def _network(run: Run) -> nn.Module:
    try:
        return create_model(run.model, **_options(run))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{run.folder}/{CONFIG}: {error}") from None
