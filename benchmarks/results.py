"""Results on disk: a JSON for each benchmark, a row as soon as it is measured."""

import datetime
import json
import platform
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"

Row = dict[str, Any]


class Book:
    """The rows of one benchmark, of one set of packages.

    Rows of other versions, or times of another processor, are dropped: a book never
    mixes them. A package that is not installed now is no reason.

    Args:
        file: where they are kept.
        packages: whose versions decide the figures.
        timed: whether the rows are times on this machine.
    """

    def __init__(self, file: Path, packages: tuple[str, ...], timed: bool):
        kept = json.loads(file.read_text()) if file.exists() else {}
        before, now = kept.get("versions", {}), _versions(packages)
        same = all(before.get(name) == version for name, version in now.items())
        if timed and kept.get("cpu") != _cpu():
            same = False
        rows = kept.get("rows", {})
        if rows and not same:
            print(f"{file.name}: {len(rows)} rows are of another machine or versions")
        self.file, self.rows = file, rows if same else {}
        versions = before | now if same else now
        self.about = {"versions": versions, "cpu": _cpu()}

    def fill(self, cases: Mapping[str, Callable[[], Row]], again: bool = False) -> None:
        """Measures the rows that are missing, or all, and says each."""
        for key, run in cases.items():
            if again or key not in self.rows:
                row = run()
                today = datetime.date.today().isoformat()
                self.rows[key] = row | {"date": today}
                self._write()
                print(key, json.dumps(row), flush=True)

    def _write(self) -> None:
        command = " ".join(["python -m benchmarks", *sys.argv[1:]])
        whole = self.about | {"command": command, "rows": self.rows}
        self.file.write_text(json.dumps(whole, indent=1) + "\n")


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


def _cpu() -> str:
    """Model, number, and what the kernel calls the generation."""
    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = [line.partition(":") for line in lines.splitlines()]
    found = {name.strip(): value.strip() for name, _, value in fields}
    count = sum(name.strip() == "processor" for name, _, _ in fields)
    model = found.get("model name") or platform.processor() or "unknown"
    family = f"family {found.get('cpu family')}, model {found.get('model')}"
    return f"{count} × {model}, {family}"
