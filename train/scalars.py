"""The numbers of a run, a JSON object a line."""

import json
import math
from typing import Any

from etils import epath

from prm_flax.runs import SCALARS
from train.workdir.files import is_local, write_whole

Record = dict[str, Any]


class Scalars:
    """Appends records to a file, and to TensorBoard if asked.

    Args:
        workdir: the run's folder; the file is scalars.jsonl in it.
        resumed_step: records of later steps are dropped, they will come again.
        tensorboard: also write TensorBoard files.
        writes: whether anything is written; one of the processes of a run does, and
            reads first.
    """

    def __init__(
        self,
        workdir: epath.Path,
        resumed_step: int,
        tensorboard: bool = False,
        writes: bool = True,
    ):
        self.path, self.writes = workdir / SCALARS, writes
        self.records = [r for r in read(self.path) if r["step"] <= resumed_step]
        self.tensorboard = None
        if not writes:
            return
        self._rewrite()
        if tensorboard:
            self.tensorboard = _tensorboard(workdir, resumed_step)

    def write(self, record: Record) -> None:
        """Appends a record; it has "kind" (train or test), "step" and numbers."""
        self.records.append(record)
        if not self.writes:
            return
        if is_local(self.path):
            with open(self.path, "a") as file:
                file.write(_line(record))
        else:  # objects cannot be appended to
            self._rewrite()
        if self.tensorboard is None:
            return
        for name, value in record.items():
            if isinstance(value, float):
                tag = f"{record['kind']}/{name}"
                self.tensorboard.add_scalar(tag, value, record["step"])
        self.tensorboard.flush()

    def _rewrite(self) -> None:
        lines = "".join(_line(record) for record in self.records)
        write_whole(self.path, lines.encode())

    def of(self, kind: str) -> list[Record]:
        """All records of a kind."""
        return [record for record in self.records if record["kind"] == kind]


def read(path: epath.Path) -> list[Record]:
    """The records of a file; a last line that a crash cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def _line(record: Record) -> str:
    # NaN and Infinity are not JSON; null is, and says that there is no number.
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
    return json.dumps(finite) + "\n"


def _tensorboard(workdir: epath.Path, resumed_step: int):
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "log.tensorboard needs tensorboardX: pip install 'prm-flax[tensorboard]'."
        ) from error
    folder = str(workdir / "tensorboard")
    return SummaryWriter(folder, purge_step=resumed_step + 1, write_to_disk=True)
