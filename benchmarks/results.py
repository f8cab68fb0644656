"""Results on disk: a JSON for each benchmark, a row as soon as it is measured."""

import datetime
import json
import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"

Row = dict[str, Any]


class ResultsFile:
    """The rows of one benchmark, of one set of packages.

    Rows of other versions, or times of another processor, are dropped: a file never
    mixes them. A package that is not installed now is no reason.

    Args:
        file: where they are kept.
        packages: whose versions decide the figures.
        timed: whether the rows are times on this machine.
        command: that measures them; None is the benchmark's of the file's name.
    """

    def __init__(
        self,
        file: Path,
        packages: tuple[str, ...],
        timed: bool,
        command: str | None = None,
    ):
        self.file, self.timed = file, timed
        self.command = command or f"python -m benchmarks {file.stem}"
        self.versions, self.cpu = _versions(packages), processor()
        found, kept = read(file.stem, file.parent)["rows"], self._kept()["rows"]
        if len(found) > len(kept):
            print(f"{file.name}: {len(found)} rows are of another machine or versions")

    def fill(self, cases: Mapping[str, Callable[[], Row]], again: bool = False) -> None:
        """Measures the rows that are missing, or all, and says each."""
        for key, run in cases.items():
            if again or key not in self._kept()["rows"]:
                row = run()
                self._add(key, row)
                print(key, json.dumps(row), flush=True)

    def _add(self, key: str, row: Row) -> None:
        # Read again: another process may have added rows in the meantime.
        kept = self._kept()
        whole = {
            "command": self.command,
            "versions": kept.get("versions", {}) | self.versions,
            "cpu": self.cpu,
            "rows": kept["rows"] | {key: row | {"date": str(datetime.date.today())}},
        }
        self.file.write_text(json.dumps(whole, indent=1) + "\n")

    def _kept(self) -> dict[str, Any]:
        """What is on disk, unless this machine or its packages measure otherwise."""
        kept = read(self.file.stem, self.file.parent)
        before = kept.get("versions", {})
        same = all(before.get(name) == v for name, v in self.versions.items())
        if not same or (self.timed and kept.get("cpu") != self.cpu):
            return {"rows": {}}
        return kept


def read(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """A benchmark's file; one without rows if there is none."""
    file = folder / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else {"rows": {}}


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Model, number, and what the kernel calls the generation."""
    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = [line.partition(":") for line in lines.splitlines()]
    found = {name.strip(): value.strip() for name, _, value in fields}
    count = sum(name.strip() == "processor" for name, _, _ in fields)
    model = found.get("model name") or platform.processor() or "unknown"
    family = f"family {found.get('cpu family')}, model {found.get('model')}"
    return f"{count} × {model}, {family}"
