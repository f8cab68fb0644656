"""A study's results as Markdown."""

import math
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.markdown import filled, grid
from studies.case import Case
from studies.intervals import Interval, deviation, paired, signed
from studies.pooled import summary
from studies.results import Row

ABSENT = "–"

# Case -> seed -> its row.
Runs = Mapping[str, Mapping[int, Row]]


def by_case(rows: Sequence[Row]) -> Runs:
    """The rows of a study, by case and seed."""
    found: dict[str, dict[int, Row]] = {}
    for row in rows:
        found.setdefault(row["case"], {})[row["seed"]] = row
    return found


def table(
    cases: Mapping[str, Case],
    rows: Sequence[Row],
    against: Sequence[str],
    costs: Mapping[str, Row],
) -> str:
    """A grid for each family of cases.

    Args:
        cases: of the study.
        rows: of its runs.
        against: names of the cases that the others are compared with.
        costs: case -> its figures of `studies.cost`.
    """
    runs, families = by_case(rows), dict.fromkeys(c.family for c in cases.values())
    head = ["", "parameters", "runs", "test top-1 %"]
    head += [f"minus {name}" for name in against]
    head += ["step ÷ plain", "memory of a step, MB"]
    parts = []
    for family in families:
        members = [case for case in cases.values() if case.family == family]
        lines = [_line(case.name, runs, against, costs) for case in members]
        parts.append(f"**{family.capitalize()}**\n\n{grid(head, lines)}")
    figures = {name: _figures(found, "test_top1") for name, found in runs.items()}
    parts += [filled(summary(figures, other)) for other in against]
    return "\n\n".join(filter(None, parts))


def _line(
    name: str, runs: Runs, against: Sequence[str], costs: Mapping[str, Row]
) -> list[str]:
    found = runs.get(name, {})
    one = next(iter(found.values()), None)
    accuracies = _figures(found, "test_top1")
    cells = [name, f"{one['parameters']:,}" if one else ABSENT, str(len(found))]
    cells.append(_spread(list(accuracies.values())))
    for other in against:
        theirs = _figures(runs.get(other, {}), "test_top1")
        cells.append(_difference(paired(accuracies, theirs)) if other != name else "")
    cost = costs.get(name)
    cells.append(f"{cost['ratio']:.2f}" if cost else ABSENT)
    cells.append(f"{cost['step_megabytes']:.0f}" if cost else ABSENT)
    return cells


def _figures(rows: Mapping[int, Row], figure: str) -> dict[int, float]:
    return {seed: row[figure] for seed, row in rows.items()}


def _spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    if not values:
        return ABSENT
    spread = "" if len(values) == 1 else f" ± {deviation(values):.2f}"
    return f"{statistics.fmean(values):.2f}{spread}"


def _difference(found: Interval | None) -> str:
    """+0.12 (−0.30 to +0.54); bold where the interval leaves 0 out."""
    if found is None:
        return ABSENT
    if math.isinf(found.low):
        return signed(found.value)
    words = f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"
    return f"**{words}**" if found.low > 0 or found.high < 0 else words
