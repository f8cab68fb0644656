"""Folders that other machines see: an owner file, renewed; gone when it is not."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support.folders import holder

from train.workdir.lease import Timing, WorkdirError
from train.workdir.lock import lock

# As in life, but fast. Whoever lives is waited for, as the machine may be busy.
FAST = Timing(beat=0.05, stale=3600, settle=0.1)

HOLD = """
import sys
from train.workdir.lock import lock
from train.workdir.lease import Timing
with lock(sys.argv[1], shared=True, timing=Timing(0.05, 3600, 0.1)):
    print("held", flush=True)
    sys.stdin.read()
"""


def owned(workdir):
    return lock(workdir, shared=True, timing=FAST)


def until(condition):
    """Waits for what a thread does."""
    while not condition():
        time.sleep(0.01)


def raises(check):
    try:
        check()
    except WorkdirError:
        return True
    return False


def read(workdir):
    return json.loads((workdir / ".owner").read_text())


def test_the_owner_is_written_down_renewed_and_gone_at_the_end(tmp_path):
    with owned(tmp_path) as check:
        first = read(tmp_path)
        assert first["process"] == os.getpid()
        until(lambda: read(tmp_path)["beat"] >= first["beat"] + 2)
        check()
    assert list(tmp_path.iterdir()) == []


def test_a_second_owner_is_refused_and_told_who_holds(tmp_path):
    with holder(tmp_path, HOLD) as process:
        with pytest.raises(WorkdirError, match=rf"in use.*process {process.pid} on \S"):
            with owned(tmp_path):
                pass
        assert process.poll() is None
    with owned(tmp_path):
        pass


def test_an_owner_that_was_killed_is_followed(tmp_path, capsys):
    with holder(tmp_path, HOLD) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with lock(tmp_path, shared=True, timing=Timing(0.05, 0.3, 0.1)):
            assert read(tmp_path)["process"] == os.getpid()
    assert f"held by process {process.pid} on" in capsys.readouterr().out


def test_an_owner_that_ends_while_one_waits_is_followed_at_once(tmp_path):
    (tmp_path / ".owner").write_text("not this program's")
    code = "import os, sys, time; time.sleep(0.3); os.unlink(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / ".owner")]):
        with owned(tmp_path):
            assert read(tmp_path)["process"] == os.getpid()


def test_an_owner_that_was_suspended_learns_who_followed(tmp_path):
    with owned(tmp_path) as check:
        other = {"process": 1, "host": "elsewhere", "token": "another", "beat": 1}
        (tmp_path / ".owner").write_text(json.dumps(other))
        # One renewal may have been between reading and writing: say it again.
        while not raises(check):
            (tmp_path / ".owner").write_text(json.dumps(other))
            time.sleep(0.02)
        with pytest.raises(WorkdirError, match="taken over by process 1 on elsewhere"):
            check()
    assert read(tmp_path) == other


def test_the_last_of_two_that_claim_at_once_has_it(tmp_path, monkeypatch):
    settled = time.sleep

    def meanwhile(seconds):
        if seconds == FAST.settle:
            (tmp_path / ".owner").write_text('{"process": 2, "host": "faster"}')
        settled(seconds)

    monkeypatch.setattr(time, "sleep", meanwhile)
    with pytest.raises(WorkdirError, match=r"in use.*process 2 on faster"):
        with owned(tmp_path):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_flock_does_not_work_there_is_an_owner(tmp_path, monkeypatch, number):
    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock(tmp_path, timing=FAST):
        assert read(tmp_path)["process"] == os.getpid()
    assert not (tmp_path / ".owner").exists()


def test_another_error_of_flock_is_no_owner(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output"), lock(tmp_path):
        pass
