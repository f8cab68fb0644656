"""One run at a time in a folder that can be written to."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from support.folders import holder, no_root
from support.run import files_no_larger_than

from train.workdir.lock import WorkdirError, lock, prepare_workdir

HOLD = """
import pathlib, sys
from train.workdir.lock import lock
with lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_and_told_who_holds(tmp_path):
    with holder(tmp_path, HOLD) as process:
        with pytest.raises(WorkdirError, match=rf"in use.*process {process.pid}\b"):
            with lock(tmp_path):
                pass
        assert process.poll() is None


def test_it_is_free_after_the_holder_ended(tmp_path):
    with holder(tmp_path, HOLD) as process:
        pass
    assert process.returncode == 0
    with lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_it_is_free_after_the_holder_was_killed(tmp_path):
    with holder(tmp_path, HOLD) as process:
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


def test_a_name_that_is_no_text_is_refused_before_anything_is_made(tmp_path):
    """Orbax would refuse it at the first save."""
    for folder in (tmp_path / "caf\udce9", tmp_path / "caf\udce9" / "run"):
        with pytest.raises(WorkdirError, match=r"name of UTF-8.*caf\\xe9.*--workdir"):
            prepare_workdir(folder)
    assert not list(tmp_path.iterdir())


def test_a_folder_under_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("kept")
    assert "Not a directory" in refused(path / "run")


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    with files_no_larger_than(1000):
        assert "Make room" in refused(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        with no_root():
            said = refused(Path(folder))
        assert "Permission denied" in said and "Make room" not in said
        assert os.listdir(folder) == []
