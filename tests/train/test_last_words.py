"""A process that is ended from within says so all the same, and only then."""

import subprocess
import sys

import pytest
from support.run import REPO

PROGRAM = """
import os, signal, sys
from train.last_words import last_words
with last_words("a process was lost"):
    {inside}
print("orderly")
"""


def run(inside):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(inside=inside)],
        cwd=REPO,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("inside", ["os.abort()", "os.kill(os.getpid(), 9)"])
def test_an_end_from_within_is_told(inside):
    done = run(inside)
    assert done.returncode != 0
    assert "a process was lost" in done.stderr


@pytest.mark.parametrize("inside", ["pass", "sys.exit(3)", "raise ValueError('x')"])
def test_an_orderly_end_is_not(inside):
    assert "a process was lost" not in run(inside).stderr
