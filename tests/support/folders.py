"""Folders that are held by another process, or may not be written to."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.run import REPO


@contextlib.contextmanager
def holder(workdir: Path, hold: str) -> Iterator[subprocess.Popen]:
    """Another process that holds the folder until its input ends.

    `hold` is its program: it gets the folder's name, and prints "held" once it does.
    """
    command = [sys.executable, "-c", hold, str(workdir)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=REPO, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


@contextlib.contextmanager
def no_root() -> Iterator[None]:
    """Root writes into read-only folders; be nobody for a moment."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)
