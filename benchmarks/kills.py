"""Kills small runs at random moments and checks what each leaves.

How to run it and what it printed: README.md beside this file.
"""

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
os.environ["JAX_PLATFORMS"] = "cpu"

from etils import epath
from support.run import STEPS, assert_same_run, start, uninterrupted

from train.checkpoints.steps import LEFTOVERS, Steps

# A save after every step: the most that can be cut off.
FLAGS = ("--checkpoint.every-steps", "1")
POLL = 0.005  # seconds: looking costs the run time too


class Wrong(AssertionError):
    """A kill left something that it must not."""


def main() -> int:
    """Kill as often as asked and print a line of counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--saving", type=int, default=50, help="of them, while saving")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    began = time.monotonic()
    counts = kills(flags.kills, flags.saving, random.Random(flags.seed))
    minutes = (time.monotonic() - began) / 60
    print(
        f"{flags.kills} kills, {counts['saving']} of them while saving, in "
        f"{counts['runs']} runs: after each the last good step was as new as before; "
        f"every run ended with the bits of one that was not killed ({minutes:.0f} min)"
    )
    return 0


def kills(number: int, saving: int, choose: random.Random) -> Counter[str]:
    """Kills `number` times, at least `saving` of them while saving, over many runs.

    Returns:
        How many kills came while saving, and how many runs there were.

    Raises:
        Wrong: what a kill left is not right.
        AssertionError: a run did not end with the bits of an undisturbed one.
    """
    counts: Counter[str] = Counter()
    length = duration()
    while counts["kills"] < number:
        with tempfile.TemporaryDirectory(prefix="prm-flax-kills-") as folder:
            workdir = Path(folder)
            while counts["kills"] < number or counts["saving"] < saving:
                missing = saving - counts["saving"]
                aim = missing > 0 and choose.random() < 0.5
                if not one_life(workdir, choose, aim, length, counts):
                    break
            finish(workdir)
            counts["runs"] += 1
    return counts


def one_life(
    workdir: Path,
    choose: random.Random,
    aim_at_save: bool,
    length: float,
    counts: Counter[str],
) -> bool:
    """Starts the run and kills it; False if it ended before."""
    safe = good(workdir)
    with running(workdir) as process:
        if aim_at_save:
            ended = wait_for_saves(workdir, choose.randint(1, 4), process)
            ended = ended or sleep(choose.uniform(0, 0.03), process)
        else:
            ended = sleep(choose.uniform(0, length), process)
        process.kill()
        process.wait()
    if ended:
        return False
    counts["kills"] += 1
    counts["saving"] += cut_off(workdir / "checkpoints")
    if good(workdir) < safe:
        raise Wrong(f"{workdir}: step {safe} was good before the kill, and is not now")
    return True


def good(workdir: Path) -> int:
    """The last step that can be restored, 0 for none."""
    found = Steps(epath.Path(workdir / "checkpoints")).good()
    if found.damaged:
        raise Wrong(f"{workdir}: a kill damaged {found.damaged}")
    return found.step or 0


def cut_off(checkpoints: Path) -> bool:
    """Whether a save is under way: before, while or after Orbax commits it."""
    steps = Steps(epath.Path(checkpoints))
    with contextlib.suppress(OSError):  # what is there moves meanwhile
        names = [path.name for path in steps.folder.iterdir()]
        begun = any(part in name for name in names for part in LEFTOVERS)
        return begun or steps.all() != steps.saved()
    return False


def duration() -> float:
    """Seconds of a whole run, its start included, as the machine is now."""
    uninterrupted()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="prm-flax-kills-") as folder:
        finish(Path(folder))
    return time.monotonic() - began


def finish(workdir: Path) -> None:
    """Lets the run go on to its end, and compares it."""
    with running(workdir) as process:
        out, err = process.communicate()
    if process.returncode:
        raise Wrong(f"{workdir}: the run cannot go on: {out[-300:]}{err[-3000:]}")
    assert_same_run(workdir, uninterrupted())
    assert good(workdir) == STEPS


@contextlib.contextmanager
def running(workdir: Path) -> Iterator:
    """The program; it never outlives the block."""
    process = start("fit", "--workdir", workdir, *FLAGS)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_saves(workdir: Path, number: int, process) -> bool:
    """Waits until the number-th save from now is under way; True if the run ended."""
    for _ in range(number):
        for wanted in (False, True):
            while cut_off(workdir / "checkpoints") is not wanted:
                if sleep(POLL, process):
                    return True
    return False


def sleep(seconds: float, process) -> bool:
    """Sleeps, not beyond the end of the run; True if it ended."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(POLL)
    return process.poll() is not None


if __name__ == "__main__":
    sys.exit(main())
