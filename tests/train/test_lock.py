"""One run at a time in a folder that can be written to."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.run import REPO, files_no_larger_than

from train.lock import WorkdirError, lock, prepare_workdir

HOLD = """
import pathlib, sys
from train.lock import lock
with lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(workdir):
    """Another process that holds the folder until its input ends."""
    command = [sys.executable, "-c", HOLD, str(workdir)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=REPO, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_a_second_holder_is_refused_and_told_who_holds(tmp_path):
    with holder(tmp_path) as process:
        with pytest.raises(WorkdirError, match=rf"in use.*process {process.pid}\b"):
            with lock(tmp_path):
                pass
        assert process.poll() is None


def test_it_is_free_after_the_holder_ended(tmp_path):
    with holder(tmp_path) as process:
        pass
    assert process.returncode == 0
    with lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_it_is_free_after_the_holder_was_killed(tmp_path):
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with lock(tmp_path):
            assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_it_is_free_after_an_error_inside(tmp_path):
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        raise ZeroDivisionError
    with lock(tmp_path):
        pass


def test_the_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    workdir = tmp_path / "a" / "b"
    prepare_workdir(workdir)
    prepare_workdir(workdir)
    assert list(workdir.iterdir()) == []


def refused(workdir):
    with pytest.raises(WorkdirError, match="choose another with --workdir") as caught:
        prepare_workdir(workdir)
    assert str(workdir) in str(caught.value)
    return str(caught.value)


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "file"
    path.write_text("kept")
    assert "File exists" in refused(path)
    assert path.read_text() == "kept"


def test_a_folder_under_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("kept")
    assert "Not a directory" in refused(path / "run")


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    with files_no_larger_than(1000):
        assert "Make room" in refused(tmp_path)
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def no_root():
    """Root writes into read-only folders; be nobody for a moment."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_read_only_folder():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        with no_root():
            assert "Permission denied" in refused(Path(folder))
        assert os.listdir(folder) == []
