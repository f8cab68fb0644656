"""What stands below a table: where its numbers are from, and why some differ."""

from collections.abc import Mapping

from prm_flax.paper.form import Table
from prm_flax.printable import markdown
from prm_flax.runs import Run

SOURCE = (
    "paper: as printed in X. Ma, S. Fu, “Position-Aware Recalibration Module: Learning "
    "From Feature Semantics and Feature Position”, IJCAI 2020, Table {number}."
)
COUNTS = (
    "here: this project. Parameters and FLOPs (the paper's counter) are counted on the "
    "spot, for an image of 224×224 and 1000 classes."
)
NO_RUN = (
    "Accuracies here are blank: no run on ImageNet was given. Folders of runs go after "
    "--runs."
)
UNEXPLAINED = "It is not known why the printed number is another."


def notes_of(
    table: Table, runs: Mapping[int, Run], marks: Mapping[str, str]
) -> tuple[str, ...]:
    """Source, remarks and footnotes.

    Args:
        table: quoted from the paper.
        runs: index of a row -> the run that fills it.
        marks: footnote -> its letter.
    """
    networks = any(row.model for row in table.rows)
    here = (COUNTS, *_accuracies(table, runs)) if networks else ()
    feet = (f"({mark}) {why}" for why, mark in marks.items())
    return (SOURCE.format(number=table.number), *here, *table.notes, *feet)


def _accuracies(table: Table, runs: Mapping[int, Run]) -> tuple[str, ...]:
    if not runs:
        return (NO_RUN,)
    given = (
        f"{' '.join(filter(None, table.rows[i].labels))}: {_described(run)}"
        for i, run in sorted(runs.items())
    )
    blank = "" if len(runs) == len(table.rows) else " Blank: no run was given."
    return (f"Accuracies here are of one run each ({'; '.join(given)}).{blank}",)


def _described(run: Run) -> str:
    missing = "" if run.top5 is not None else ", which wrote no top-5 down"
    return f"{markdown(run.folder)}, {run.epochs} epochs{missing}"
