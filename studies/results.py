"""The results of a study: a JSON file for each run, named by case and seed."""

import json
from pathlib import Path

from benchmarks.results import Row as Row

FOLDER = Path(__file__).parent / "results"
RUNS = "runs/studies"  # folders of the runs themselves, from the checkout's root


def slug(name: str, seed: int) -> str:
    """A case's and a seed's name for files.

    Example:
        >>> slug("prm 4 heads", 0)
        'prm_4_heads-seed0'
    """
    return f"{name.replace(' ', '_')}-seed{seed}"


def path(study: str, name: str, seed: int, folder: Path | None = None) -> Path:
    """The file of a run's result, in `FOLDER` by default."""
    return (folder or FOLDER) / study / f"{slug(name, seed)}.json"


def read(study: str, folder: Path | None = None) -> list[Row]:
    """All results of a study, by case and seed; none if nothing has run.

    Raises:
        ValueError: a file is not a result.
    """
    rows = []
    for file in ((folder or FOLDER) / study).glob("*.json"):
        try:
            row = json.loads(file.read_text())
            rows.append((row["case"], row["seed"], row))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{file} must be a run's result with a case and a seed: {error!r}. "
                "Remove it and run the study again."
            ) from error
    return [row for *_, row in sorted(rows, key=lambda found: found[:2])]


def write(study: str, row: Row, folder: Path | None = None) -> None:
    """Writes a result, whole or not at all."""
    file = path(study, row["case"], row["seed"], folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(row, indent=1) + "\n")
    part.replace(file)
