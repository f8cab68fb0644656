"""Runs of `python -m train` in processes of their own, as a user starts them."""

import atexit
import contextlib
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from safetensors.numpy import load_file

REPO = Path(__file__).parents[2]
TINY = "tests/e2e/tiny.py"
STEPS = 20  # of tiny.py
# What depends on how fast the machine is.
OF_TIME = ("images_per_second", "input_wait", "train_seconds")


class Finished(NamedTuple):
    """How a program ended."""

    code: int
    out: str
    err: str


@functools.cache
def scratch() -> Path:
    """A folder that is gone when the tests are."""
    folder = tempfile.TemporaryDirectory(prefix="prm-flax-tests-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def start(command: str, *flags: str | Path, config: str = TINY, xla: str = ""):
    """Starts a command on a config; the process."""
    return subprocess.Popen(
        [sys.executable, "-m", "train", command, config, *map(str, flags)],
        cwd=REPO,
        env=os.environ | {"XLA_FLAGS": xla},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen) -> Finished:
    """Waits for its end."""
    out, err = process.communicate()
    return Finished(process.returncode, out, err)


def run(command: str, *flags: str | Path, **how: str) -> Finished:
    return end(start(command, *flags, **how))


def fit(workdir: Path, *flags: str, **how: str) -> Finished:
    """Trains tiny.py, or goes on; succeeds."""
    done = run("fit", "--workdir", workdir, *flags, **how)
    assert done.code == 0, done.err
    return done


@functools.cache
def uninterrupted() -> Path:
    """The folder of a run of tiny.py that nobody disturbed; leave it as it is."""
    workdir = scratch() / "uninterrupted"
    done = fit(workdir)
    (workdir / "out.txt").write_text(done.out)
    return workdir


def wait_until(moment: Callable[[], Any], process: subprocess.Popen) -> None:
    """Waits for a moment in the life of a process; fails if it never comes."""
    while not moment():
        assert process.poll() is None, f"ended before the moment: {end(process)}"
        time.sleep(0.002)


def records(workdir: Path) -> list[dict[str, Any]]:
    """Whole lines of scalars.jsonl, without what depends on time."""
    path = workdir / "scalars.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [without_time(json.loads(line)) for line in lines]


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in OF_TIME}


def result(workdir: Path) -> dict[str, Any]:
    return json.loads((workdir / "result.json").read_text())


def saved_steps(workdir: Path) -> list[int]:
    found = (workdir / "checkpoints").glob("*/manifest.json")
    names = (path.parent.name for path in found)
    return sorted(int(name) for name in names if name.isdigit())


def arrays(workdir: Path) -> dict[str, tuple[str, bytes]]:
    """Dtype and bytes of all that the last checkpoint and the weights hold."""
    last = saved_steps(workdir)[-1]
    folder = workdir.absolute() / f"checkpoints/{last}/state"
    with ocp.PyTreeCheckpointer() as reader:
        # As numpy's arrays: the devices that they lay on need not be here.
        saved = reader.metadata(folder).item_metadata.tree
        plain = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), saved)
        state = reader.restore(folder, restore_args=plain)
    leaves = jax.tree_util.tree_flatten_with_path(jax.device_get(state))[0]
    found = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    found |= load_file(workdir / "model.safetensors")
    return {name: (str(leaf.dtype), leaf.tobytes()) for name, leaf in found.items()}


def assert_same_run(workdir: Path, other: Path) -> None:
    """Both ended with the same bits, and wrote down the same numbers on the way."""
    assert saved_steps(workdir)[-1] == saved_steps(other)[-1] == STEPS
    got, want = arrays(workdir), arrays(other)
    assert got.keys() == want.keys()
    assert [name for name in want if got[name] != want[name]] == []
    assert records(workdir) == records(other)
    assert without_time(result(workdir)) == without_time(result(other))


def assert_learned_alike(workdir: Path, other: Path) -> None:
    """Both wrote down the same steps, and losses as near as float32 lets them be."""
    for got, want in zip(records(workdir), records(other), strict=True):
        assert (got["kind"], got["step"]) == (want["kind"], want["step"])
        # Runs part after a few steps; what is equal is shown in float64 elsewhere.
        bound = 1e-3 if got["step"] <= 4 else 0.3
        assert abs(got["loss"] - want["loss"]) <= bound, (got, want)


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A disk without room for more than this in a file, as this process sees it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
