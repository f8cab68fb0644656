"""Which row a run fills: the same network, trained as in the paper.

A classifier from nothing on ImageNet; a detector, with a backbone from there, on COCO.
"""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import flax.linen as nn

from prm_flax.detection import list_detectors
from prm_flax.paper.form import Table
from prm_flax.paper.measure import KINDS, SIZE, network, whole
from prm_flax.printable import printable
from prm_flax.runs import CONFIG, Run

TRAIN_IMAGES = 1_281_167
# Where ImageNet's images can come from; other sets do too, with other numbers.
SOURCES = ("imagenet2012", "image_folder")
# Options that make another network of the same name. ddof is not one: the authors'
# program has 1, the paper's formula 0. All others are ways to train the same one.
OPTIONS = (
    *("groups", "normalize", "position", "similarity", "stem"),
    # Of detectors.
    *("channels", "depth", "hidden", "norms", "frozen_stages"),
)
COCO_IMAGES = 118_287
COCO_SIZE = [800, 1333]


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
    (kind,) = {row.kind for row in table.rows}
    if kind != kind_of(run):
        return f"it is a run of a {kind_of(run)}, Table {table.number} is of {kind}s"
    reasons = (rule(run, f"Table {table.number}") for rule in RULES[kind])
    reason = next(filter(None, reasons), "")
    if reason or rows_of(table, run):
        return reason
    options = [f"{name} {value!r}" for name, value in _options(run).items()]
    network = ", ".join([run.model, *options])
    return (
        f"no row of Table {table.number} is {network} with {run.parameters:,} "
        "parameters"
    )


def kind_of(run: Run) -> str:
    """The kind of a run's network, of `measure.KINDS`."""
    return "detector" if run.model in list_detectors() else "classifier"


def rows_of(table: Table, run: Run) -> list[int]:
    """Indices of the rows with the run's network."""
    trained = _network(run)
    return [
        index
        for index, row in enumerate(table.rows)
        if network(row) == trained and whole(row) == run.parameters
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


def _of_coco(run: Run, table: str) -> str:
    wrong = f"it is a run of {run.source!r}, not of COCO, the dataset of {table}"
    return "" if run.source == "coco" else wrong


def _passes_over_coco(run: Run, table: str) -> str:
    # Each shape that images are padded to may have a last batch that is not full.
    least = run.epochs * (COCO_IMAGES // run.batch_size)
    shapes = run.config.get("data.buckets", 1)
    if least <= run.steps <= least + run.epochs * (shapes + 1):
        return ""
    return (
        f"{run.steps:,} steps of {run.batch_size} images are not {run.epochs} passes "
        f"over the {COCO_IMAGES:,} images of COCO, the dataset of {table}"
    )


def _size_of_coco(run: Run, table: str) -> str:
    size = run.config.get("data.size")
    wrong = f"its images have {size!r} pixels at most, those of {table} {COCO_SIZE}"
    return "" if size == COCO_SIZE else wrong


def _pretrained(run: Run, table: str) -> str:
    wrong = f"it started from nothing, the backbones of {table} from ImageNet's weights"
    return wrong if run.config.get("init.file") is None else ""


# Kind of network -> what is wrong with a run for its tables, or "".
RULES: MappingProxyType[str, tuple[Callable[[Run, str], str], ...]] = MappingProxyType(
    {
        "classifier": (_dataset, _passes, _size, _start),
        "detector": (_of_coco, _passes_over_coco, _size_of_coco, _pretrained),
    }
)


def _options(run: Run) -> dict[str, Any]:
    given = {name: run.config.get(f"model.{name}") for name in OPTIONS}
    return {name: value for name, value in given.items() if value is not None}


def _network(run: Run) -> nn.Module:
    try:
        return KINDS[kind_of(run)].create(run.model, **_options(run))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{run.folder}/{CONFIG}: {error}") from None
