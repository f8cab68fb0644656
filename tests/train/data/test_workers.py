"""Workers: the same batches whoever makes them, clear ends, nobody left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.examples import Numbered
from support.run import REPO

from train.data.input import DataError
from train.data.workers import check_shared_memory, stream

PLACES = range(24, 24 + 8 * 7)


def batches(example, workers, places=PLACES):
    return stream(example, places, 8, workers=workers, prefetch=2)


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_any_number_of_workers_makes_the_same_batches_in_order(workers):
    made = list(batches(Numbered(), workers))
    assert len(made) == 7
    places = np.concatenate([batch["place"] for batch in made])
    np.testing.assert_array_equal(places, PLACES)
    images = np.concatenate([batch["image"] for batch in made])
    assert images.shape == (56, 64, 64, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.array(PLACES) % 251)
    pids = {int(pid) for batch in made for pid in batch["pid"]}
    assert len(pids) == max(workers, 1)
    assert (os.getpid() in pids) == (workers == 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_fails_in_a_worker_fails_here(workers):
    made = batches(Numbered(fail_at=45), workers)
    with pytest.raises(ValueError, match="place 45 is bad"):
        list(made)


def test_a_killed_worker_is_an_error_and_no_endless_wait():
    with pytest.raises(DataError, match=r"a worker process .* died .*-9"):
        list(batches(Numbered(kill_at=60), 2))


def test_closing_ends_the_workers():
    made = batches(Numbered(0.01), 2, range(80_000))
    pids = {int(next(made)["pid"][0]) for _ in range(2)}
    assert all(alive(pid) for pid in pids)
    made.close()
    assert not any(alive(pid) for pid in pids)


def test_batches_that_do_not_fit_into_shared_memory_are_refused(tmp_path):
    check_shared_memory(1, str(tmp_path))
    check_shared_memory(2**60, str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"shared memory, up to .* data\.workers 0"):
        check_shared_memory(2**60, str(tmp_path))


@pytest.fixture
def program():
    """A program that starts two workers, and then says who they are."""
    command = [sys.executable, "-m", "support.orphans", "100"]
    paths = os.pathsep.join([str(REPO), str(REPO / "tests")])
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def said(process):
    """The workers, once each has made a batch."""
    return [int(pid) for pid in process.stdout.readline().split()]


def test_a_killed_parent_leaves_no_worker_behind(program):
    workers = said(program)
    assert len(workers) == 2 and all(alive(pid) for pid in workers)
    program.kill()
    program.wait()
    gone_by = time.monotonic() + 600
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < gone_by, "a worker outlived its parent"
        time.sleep(0.05)


def test_signals_to_all_processes_of_a_run_spare_the_workers(program):
    while len(born := started(program.pid)) < 2:
        assert program.poll() is None
        time.sleep(0.01)
    # They have not even imported what handles it.
    for pid in born:
        os.kill(pid, signal.SIGINT)
    workers = said(program)
    assert sorted(workers) == born
    for pid in workers:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    time.sleep(0.5)
    assert all(alive(pid) for pid in workers)
    assert program.poll() is None


def started(parent: int) -> list[int]:
    """The workers of a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            of_parent = f"PPid:\t{parent}\n" in (folder / "status").read_text()
            if of_parent and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return sorted(found)


def alive(pid: int) -> bool:
    """Whether it runs; a process that only waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
