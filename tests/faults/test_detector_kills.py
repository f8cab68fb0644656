"""A detector's run that is killed goes on, and ends with the same bits and boxes."""

import functools
import signal

import pytest
from support.run import (
    assert_same_run,
    end,
    records,
    run,
    saved_steps,
    scratch,
    start,
    wait_until,
)

CONFIG = "tests/e2e/tiny_scenes.py"


@functools.cache
def undisturbed():
    """The folder of a run that nobody killed; leave it as it is."""
    workdir = scratch() / "scenes"
    done = run("fit", "--workdir", workdir, config=CONFIG)
    assert done.code == 0, done.err
    return workdir


def logged(workdir, kind, step):
    return any(r["kind"] == kind and r["step"] >= step for r in records(workdir))


# What has just happened when it is killed.
MOMENTS = {
    "in the middle of an epoch": lambda w: max(saved_steps(w), default=0) >= 3,
    "in an evaluation": lambda w: logged(w, "train", 10),
    "in the last evaluation": lambda w: logged(w, "train", 20),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(moment, tmp_path):
    want = undisturbed()
    process = start("fit", "--workdir", tmp_path, config=CONFIG)
    wait_until(lambda: MOMENTS[moment](tmp_path), process)
    process.kill()
    assert end(process).code == -signal.SIGKILL
    assert not logged(tmp_path, "test", 20)
    again = run("fit", "--workdir", tmp_path, config=CONFIG)
    assert again.code == 0, again.err
    assert_same_run(tmp_path, want)
    boxes = [(folder / "results.json").read_bytes() for folder in (tmp_path, want)]
    assert boxes[0] == boxes[1]
