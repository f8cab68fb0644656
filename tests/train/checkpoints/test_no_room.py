"""A save that cannot be made is an error, and the steps before it stay."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.folders import no_root
from support.run import files_no_larger_than
from support.saved import assert_same_bits, at, like, names, odd_state, save

from train.checkpoints import manifest
from train.checkpoints.manager import Checkpoints, advice
from train.checkpoints.store import CheckpointError

FAILED = r"step 6 could not be saved in .*{}.*intact"


@pytest.fixture(scope="module")
def state():
    """Of half a megabyte."""
    noise = np.random.default_rng(0).normal(size=130_000).astype(np.float32)
    made = odd_state()
    return made.replace(params=made.params | {"noise": jnp.asarray(noise)})


def fails(folder, state, said):
    """A save of step 6 into a folder with step 3."""
    checkpoints = Checkpoints(folder, 1)
    with pytest.raises(CheckpointError, match=FAILED.format(said)):
        checkpoints.save(at(state, 6), {})
        checkpoints.finish()
    checkpoints.close()


def goes_on(folder, state):
    """Step 3 is what it was, and the next save succeeds."""
    checkpoints = Checkpoints(folder, 1)
    assert_same_bits(checkpoints.restore(like(state))[0], at(state, 3))
    save(folder, 1, state, 6)
    assert names(folder) == ["6"]


def test_no_file_may_be_so_large(tmp_path, state):
    save(tmp_path, 1, state, 3)
    with files_no_larger_than(100_000):
        fails(tmp_path, state, "File too large")
    goes_on(tmp_path, state)


def test_the_error_comes_with_the_next_save_at_the_latest(tmp_path, state):
    save(tmp_path, 1, state, 3)
    checkpoints = Checkpoints(tmp_path, 1)
    with files_no_larger_than(100_000):
        checkpoints.save(at(state, 6), {})
        with pytest.raises(CheckpointError, match=FAILED.format("File too large")):
            checkpoints.save(at(state, 9), {})
    checkpoints.close()
    goes_on(tmp_path, state)


@contextlib.contextmanager
def disk(size):
    """A file system of this many bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"may not mount a small disk: {error}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def test_the_disk_is_full(state):
    with disk(1_600_000) as folder:
        save(folder, 1, state, 3)
        full = folder / "another's"
        full.write_bytes(bytes(500_000))
        fails(folder, state, "No space left on device")
        full.unlink()
        checkpoints = Checkpoints(folder, 1)
        assert_same_bits(checkpoints.restore(like(state))[0], at(state, 3))
        save(folder, 1, state, 6)
        assert names(folder) == ["6"]


def test_there_is_no_room_for_the_manifest(tmp_path, state, monkeypatch):
    save(tmp_path, 1, state, 3)

    def write(folder):
        raise OSError(28, "No space left on device", str(folder / manifest.NAME))

    with monkeypatch.context() as patched:
        patched.setattr(manifest, "write", write)
        fails(tmp_path, state, "No space left on device.*manifest.json")
    assert names(tmp_path) == ["3", "6"]
    goes_on(tmp_path, state)


def test_a_read_only_folder(state):
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        save(folder, 1, state, 3)
        os.chmod(folder, 0o555)
        with no_root():
            fails(folder, state, f"Permission denied.*{folder}")
        os.chmod(folder, 0o755)
        goes_on(folder, state)


# What a library raised -> what is said to do about it.
ADVICE = {
    ValueError("UNKNOWN: [OS error 28: ENOSPC No space left on device]"): "Make room",
    OSError(122, "Disk quota exceeded"): "Make room",
    OSError(27, "File too large"): "Make room",
    OSError(13, "Permission denied"): "Let the folder be written to",
    OSError(5, "Input/output error"): "once that is mended",
    TypeError("an argument array had 2 shards"): "an error of a library, "
    "builtins.TypeError",
    jax.errors.JaxRuntimeError("INTERNAL"): "an error of a library, jax.errors."
    "JaxRuntimeError",
}


@pytest.mark.parametrize("error", ADVICE, ids=str)
def test_room_is_asked_for_where_there_is_none(error):
    said = advice(error)
    assert ADVICE[error] in said
    assert ("Make room" in said) == ADVICE[error].startswith("Make room")
