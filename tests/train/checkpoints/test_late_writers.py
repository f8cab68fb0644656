"""Threads that write on after a failed save: waited for, and cleared up after."""

import asyncio
import errno
import os

import pytest
from etils import epath
from orbax.checkpoint import future
from support.saved import at, names, odd_state

from train.checkpoints import store
from train.checkpoints.manager import Checkpoints
from train.checkpoints.steps import Steps, remove
from train.checkpoints.store import CheckpointError


def late(folder, written):
    """One of Orbax's threads, slower than the one that fails."""

    async def write():
        await asyncio.sleep(0.5)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "late").write_text("")
        written.append(folder)

    return future.CommitFutureAwaitingContractedSignals(write(), name="late")


def test_what_a_failed_part_began_beside_itself_is_waited_for(tmp_path):
    """Arrays that TensorStore writes while another one fails; files by an executor."""

    async def array(name):
        await asyncio.sleep(0.1)
        (tmp_path / name).write_text("")

    async def fails():
        raise OSError(errno.EFBIG, "File too large")

    async def part():
        executor = asyncio.to_thread((tmp_path / "slow").write_text, "")
        await asyncio.gather(array("a"), fails(), array("b"), executor)

    store.install_run_to_the_end()
    with pytest.raises(OSError, match="File too large"):
        future.CommitFutureAwaitingContractedSignals(part()).result()
    assert names(tmp_path) == ["a", "b", "slow"]


@pytest.mark.parametrize("method", ["save", "wait_until_finished"])
def test_a_failed_save_ends_when_all_its_threads_have(tmp_path, monkeypatch, method):
    checkpoints, written = Checkpoints(tmp_path, 1), []
    unfinished = tmp_path / "6.orbax-checkpoint-tmp"

    def fail(*_, **__):
        late(unfinished, written)
        raise OSError(errno.EFBIG, "File too large")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.store.orbax, method, fail)
        with pytest.raises(CheckpointError, match="File too large"):
            checkpoints.save(at(odd_state(), 6), {})
            checkpoints.finish()
        assert written == [unfinished]
    checkpoints.close()
    Checkpoints(tmp_path, 1)
    assert unfinished.name not in names(tmp_path)


def test_close_waits_although_the_store_fails(tmp_path, monkeypatch):
    checkpoints, written = Checkpoints(tmp_path, 1), []

    def fail():
        late(tmp_path / "6.orbax-checkpoint-tmp", written)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoints.store.orbax, "close", fail)
    with pytest.raises(OSError, match="Input/output"):
        checkpoints.close()
    assert len(written) == 1


@pytest.fixture
def busy(monkeypatch):
    """Puts a file into a folder in the moment before it is removed, some times."""
    left, removed = [3], os.rmdir

    def rmdir(path, *, dir_fd=None):
        if left[0]:
            left[0] -= 1
            flags = os.O_CREAT | os.O_WRONLY
            os.close(os.open(f"{path}/late{left[0]}", flags, dir_fd=dir_fd))
        removed(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", rmdir)
    return left


@pytest.mark.parametrize("name", ["6.orbax-checkpoint-tmp", "6.proof", "1.deleted"])
def test_a_leftover_that_is_still_written_to_is_cleared(tmp_path, busy, name):
    (tmp_path / name).mkdir()
    Steps(epath.Path(tmp_path)).clear()
    assert names(tmp_path) == []
    assert busy == [0]


@pytest.mark.parametrize("act", [Steps.drop, Steps.make_way])
def test_a_step_goes_though_a_file_comes(tmp_path, busy, act):
    (tmp_path / "6").mkdir()
    (tmp_path / "6.deleted").mkdir()  # of an earlier one: it is in no one's way
    act(Steps(epath.Path(tmp_path)), 6)
    assert names(tmp_path) == []
    assert busy == [0]


def test_what_is_gone_meanwhile_is_removed(tmp_path):
    remove(epath.Path(tmp_path / "nothing"))


def test_other_errors_of_a_removal_are_told_at_once(tmp_path, monkeypatch):
    asked = []

    def rmdir(path, *, dir_fd=None):
        asked.append(path)
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "rmdir", rmdir)
    with pytest.raises(PermissionError):
        remove(epath.Path(tmp_path))
    assert len(asked) == 1
