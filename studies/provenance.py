"""Provenance of a study's results: dates, versions, machines, hours."""

from collections.abc import Sequence

from studies.results import Row

# Of the packages in a result, those that compute.
PACKAGES = ("jax", "flax", "optax")


def provenance(study: str, rows: Sequence[Row]) -> str:
    """A sentence on the runs behind a table.

    Args:
        study: its name.
        rows: of its runs; one or more.

    Example:
        >>> versions = {"jax": "0.10.2", "flax": "0.12.8", "optax": "0.2.8"}
        >>> run = {"date": "2026-11-23", "versions": versions, "processor": "2 × CPU"}
        >>> provenance("fashion_mnist", [{**run, "train_seconds": 5400.0}])
        '1 run of `python -m studies fit fashion_mnist`: 1.5 hours of training, 2026-11-23, jax 0.10.2, flax 0.12.8, optax 0.2.8, on 2 × CPU.'
    """  # noqa: E501
    days = sorted({row["date"] for row in rows})
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    programs = sorted({_programs(row) for row in rows})
    machines = sorted({row["processor"] for row in rows})
    hours = sum(row["train_seconds"] for row in rows) / 3600
    count = f"{len(rows)} run{'s' * (len(rows) > 1)}"
    return (
        f"{count} of `python -m studies fit {study}`: {hours:.1f} hours of training, "
        f"{when}, {'; '.join(programs)}, on {'; '.join(machines)}."
    )


def _programs(row: Row) -> str:
    return ", ".join(f"{name} {row['versions'][name]}" for name in PACKAGES)
