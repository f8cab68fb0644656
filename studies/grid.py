"""Which trainings a study lacks, what they will cost, and running them."""

import datetime
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.results import processor
from studies import results
from studies.case import Case, config_of
from studies.run import outcome, start

# Of a run's seconds, what starting, compiling and testing add to training.
BESIDES = 1.3


class Plan(NamedTuple):
    """What there is to do.

    Attributes:
        missing: case and seed of each training without a result.
        done: how many have one.
        epochs: of all missing trainings.
        seconds: of training a run, as far as they were measured on this processor.
    """

    missing: list[tuple[Case, int]]
    done: int
    epochs: int
    seconds: float | None

    def summary(self) -> str:
        """One paragraph for the terminal."""
        count = len(self.missing)
        text = f"{count} trainings to run, {self.epochs} epochs; {self.done} have run."
        if not count:
            return text
        if self.seconds is None:
            return f"{text} None of this study was timed on this processor yet."
        whole = datetime.timedelta(seconds=round(self.seconds * BESIDES * count))
        return (
            f"{text} About {whole} one after the other, at {self.seconds:.0f} s of "
            "training each, the median on this processor."
        )


def plan(study: str, cases: Mapping[str, Case], seeds: int) -> Plan:
    """What a study lacks.

    Raises:
        ValueError: there must be one seed or more.
    """
    if seeds < 1:
        raise ValueError(f"--seeds must be 1 or more, got {seeds}.")
    wanted = [(case, seed) for seed in range(seeds) for case in cases.values()]
    missing = [
        (case, seed)
        for case, seed in wanted
        if not results.path(study, case.name, seed).exists()
    ]
    epochs = sum(config_of(case).epochs for case, _ in missing)
    rows = results.read(study)
    timed = [r["train_seconds"] for r in rows if r["processor"] == processor()]
    seconds = statistics.median(timed) if timed else None
    return Plan(missing, len(wanted) - len(missing), epochs, seconds)


def fill(
    study: str,
    missing: Sequence[tuple[Case, int]],
    jobs: int,
    postprocess: str | None = None,
) -> None:
    """Runs the trainings; each writes its result when it ends.

    Whatever ends this ends the running ones too, which save themselves first.

    Args:
        study: its name.
        missing: of `plan`; seed by seed, so that an early end leaves whole seeds.
        jobs: trainings at a time; each gets its share of the cores.
        postprocess: as in `outcome`.

    Raises:
        RunFailed: a training failed.
        ValueError: there are not so many cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= jobs <= len(cores):
        raise ValueError(
            f"--jobs must be from 1 to the {len(cores)} cores, got {jobs}."
        )
    free = [cores[number::jobs] for number in range(jobs)]
    waiting, running = list(missing)[::-1], {}
    try:
        while waiting or running:
            while waiting and free:
                share = free.pop()
                os.sched_setaffinity(0, share)  # which the training inherits
                run = start(study, *waiting.pop())
                running[run.process.pid] = run, share
            pid, status, usage = os.wait4(-1, 0)
            run, share = running.pop(pid)
            free.append(share)
            row = outcome(run, status, usage.ru_maxrss, postprocess)
            results.write(study, row)
            said = f"{row['test_top1']:.2f} % after {row['train_seconds']:.0f} s"
            print(f"{run.case.name}, seed {run.seed}: {said}", flush=True)
    finally:
        for run, _ in running.values():
            run.process.terminate()
        for run, _ in running.values():
            run.process.wait()
        os.sched_setaffinity(0, cores)
