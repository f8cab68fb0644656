"""Runs one training of a study as `python -m train fit`, in a process of its own."""

import datetime
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from etils import epath

from benchmarks.results import processor
from prm_flax.runs import SCALARS, read_run
from studies.case import Case, flags
from studies.results import RUNS, Row, slug
from train.scalars import read as read_scalars

ROOT = Path(__file__).resolve().parent.parent
# Of a run's result.
KEPT = ("test_top1", "parameters", "steps", "train_seconds", "versions")


class RunFailed(RuntimeError):
    """A training of a study ended with an error or was stopped."""


def arguments_of(study: str, case: Case, seed: int) -> list[str]:
    """The training's command line after `python -m train`."""
    name = slug(case.name, seed)
    own = {"name": name, "seed": seed, "workdir": f"{RUNS}/{study}/{name}"}
    return ["fit", case.config, *flags({**case.changes, **own})]


class Running(NamedTuple):
    """A training that has started.

    Attributes:
        case: what is trained.
        seed: of parameters, order and flips: pairs the cases.
        words: of the command line after `python -m train`.
        process: it, writing into `log`.
        log: the file.
    """

    case: Case
    seed: int
    words: list[str]
    process: subprocess.Popen
    log: Path


def start(study: str, case: Case, seed: int) -> Running:
    """Trains from where the run stands to its end, in a process of its own.

    Args:
        study: the study's name.
        case: what is trained.
        seed: as `Running` has it.
    """
    words = arguments_of(study, case, seed)
    log = (ROOT / RUNS / study / slug(case.name, seed)).with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    if case.initial_values:
        words += ["--init.file", _initial_weights(study, case, seed)]
    with log.open("a") as out:
        command = [sys.executable, "-m", "train", *words]
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    return Running(case, seed, words, process, log)


def _initial_weights(study: str, case: Case, seed: int) -> str:
    """Writes the weights that a case with initial values of its own starts from."""
    file = f"{RUNS}/{study}/{slug(case.name, seed)}.safetensors"
    mappings = {"changes": case.changes, "initial_values": case.initial_values}
    fields = case._asdict() | {name: dict(each) for name, each in mappings.items()}
    _in_subprocess("studies.initial_values", json.dumps(fields), str(seed), file)
    return file


def _in_subprocess(module: str, *words: str) -> str:
    """What a module prints: in a process of its own, this one has to stay small.

    A process's peak of memory begins at that of the process which starts it.
    """
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RunFailed(f"code {done.returncode} of {module}: {done.stderr[-2000:]}")
    return done.stdout


def outcome(
    run: Running, status: int, peak: int, postprocess: str | None = None
) -> Row:
    """What a training that has ended leaves to `results.write`.

    Args:
        run: of `start`.
        status: of the process, as wait gives it.
        peak: of its resident memory, kB.
        postprocess: a module that is given the run's folder and prints more, as JSON.

    Returns:
        The command, the accuracy and loss after each epoch, parameters, seconds of
        training, the peak of memory.

    Raises:
        RunFailed: the training ended with another code than 0.
    """
    code = run.process.returncode = os.waitstatus_to_exitcode(status)
    command = shlex.join(["python", "-m", "train", *run.words])
    if code:
        raise RunFailed(f"code {code} of {command}; see {run.log}")
    workdir = run.log.with_suffix("")
    result = read_run(workdir).result
    scalars = read_scalars(epath.Path(workdir / SCALARS))
    tests = [line for line in scalars if line["kind"] == "test"]
    return {
        "case": run.case.name,
        "seed": run.seed,
        "command": command,
        **{name: result[name] for name in KEPT},
        "test_top1_by_epoch": [round(line["top1"], 2) for line in tests],
        "test_loss_by_epoch": [round(line["loss"], 4) for line in tests],
        "peak_megabytes": round(peak / 1000),
        "processor": processor(),
        "date": str(datetime.date.today()),
        **(_postprocessed(postprocess, workdir) if postprocess else {}),
    }


def _postprocessed(module: str, workdir: Path) -> Row:
    return json.loads(_in_subprocess(module, str(workdir)))
