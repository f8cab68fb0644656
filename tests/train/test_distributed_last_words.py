"""A process that is ended from within says so all the same, and only then."""

import subprocess
import sys

import pytest
from support.run import REPO

from train.preemption import LINE

PROGRAM = """
import os, signal, sys
from train.distributed import message_if_killed
with message_if_killed("a process was lost"):
    {inside}
print("orderly")
"""


def run(inside):
    return run_text(PROGRAM.format(inside=inside))


def run_text(program):
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPO,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("inside", ["os.abort()", "os.kill(os.getpid(), 9)"])
def test_an_end_from_within_is_told(inside):
    done = run(inside)
    assert done.returncode != 0
    assert "a process was lost" in done.stderr


def test_an_end_from_within_while_an_error_is_on_its_way_is_told_too():
    done = run_text(
        "import os\n"
        "from train.distributed import message_if_killed\n"
        "try:\n"
        "    with message_if_killed('a process was lost'):\n"
        "        raise ValueError\n"
        "finally:\n"
        "    os.abort()\n"
    )
    assert "a process was lost" in done.stderr


@pytest.mark.parametrize("inside", ["pass", "sys.exit(3)", "raise ValueError('x')"])
def test_an_orderly_end_is_not(inside):
    assert "a process was lost" not in run(inside).stderr


def test_nor_is_ctrl_c_before_a_run_begins():
    inside = "leave_on_ctrl_c(); os.kill(os.getpid(), signal.SIGINT); signal.pause()"
    done = run(f"from train.preemption import leave_on_ctrl_c; {inside}")
    assert (done.returncode, done.stderr) == (130, f"{LINE}\n")
