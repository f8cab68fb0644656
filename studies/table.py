"""A study's results as Markdown."""

import math
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.markdown import filled, grid
from studies.book import Row
from studies.case import Case
from studies.intervals import Interval, deviation, paired

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
    head += ["step ÷ plain", "peak memory, MB"]
    parts = []
    for family in families:
        members = [case for case in cases.values() if case.family == family]
        lines = [_line(case.name, runs, against, costs) for case in members]
        parts.append(f"{filled(f'**{family.capitalize()}**')}\n\n{grid(head, lines)}")
    return "\n\n".join(parts)


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
    cells.append(f"{costs[name]['ratio']:.2f}" if name in costs else ABSENT)
    peaks = _figures(found, "peak_megabytes").values()
    cells.append(f"{statistics.median(peaks):,.0f}" if peaks else ABSENT)
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
        return signed(found.mean)
    words = f"{signed(found.mean)} ({signed(found.low)} to {signed(found.high)})"
    return f"**{words}**" if found.low > 0 or found.high < 0 else words


def signed(value: float) -> str:
    """A number with its sign.

    Example:
        >>> signed(-0.5)
        '−0.50'
    """
    return f"{value:+.2f}".replace("-", "−")
