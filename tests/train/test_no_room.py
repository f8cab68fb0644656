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

from train import manifest
from train.checkpoint import Checkpoints, advice
from train.store import CheckpointError

# A thread of Orbax still wants to speak to the event loop that the failure closed.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
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


class TestProof:
    """A run proves that it can save before it works for hours."""

    def test_the_first_save_is_kept(self, tmp_path, state):
        checkpoints = Checkpoints(tmp_path, 2)
        checkpoints.prove(at(state, 0), {"train_seconds": 0.0})
        assert names(tmp_path) == ["0"] and checkpoints.latest() == 0
        got, notes = checkpoints.restore(like(state))
        assert_same_bits(got, at(state, 0))
        assert notes == {"train_seconds": 0.0}
        checkpoints.close()

    def test_what_a_run_goes_on_from_stays_as_it_is(self, tmp_path, state):
        save(tmp_path, 2, state, 3, 6)
        before = (tmp_path / "6/manifest.json").stat()
        checkpoints = Checkpoints(tmp_path, 2)
        checkpoints.prove(at(state, 6), {})
        assert names(tmp_path) == ["3", "6"]
        assert (tmp_path / "6/manifest.json").stat() == before
        checkpoints.close()

    @pytest.mark.parametrize("step", [0, 3])
    def test_what_would_be_refused_later_is_refused_now(self, tmp_path, state, step):
        save(tmp_path, 1, state, 3)
        checkpoints = Checkpoints(tmp_path, 1)
        said = rf"step {step} could not be saved in .*File too large.*Make room"
        with (
            files_no_larger_than(100_000),
            pytest.raises(CheckpointError, match=said),
        ):
            checkpoints.prove(at(state, step), {})
        checkpoints.close()
        goes_on(tmp_path, state)

    def test_it_is_read_back(self, tmp_path, state, monkeypatch):
        checkpoints = Checkpoints(tmp_path, 1)
        bent = state.replace(params=state.params | {"noise": -state.params["noise"]})
        monkeypatch.setattr(checkpoints.store, "read", lambda *_: (at(bent, 0), {}))
        with pytest.raises(CheckpointError, match=r"does not give back params\.noise"):
            checkpoints.prove(at(state, 0), {})
        checkpoints.close()

    def test_a_copy_that_was_cut_off_is_cleared_away(self, tmp_path, state):
        save(tmp_path, 1, state, 3)
        (tmp_path / "3.proof").mkdir()
        assert Checkpoints(tmp_path).latest() == 3
        Checkpoints(tmp_path, 1).close()
        assert names(tmp_path) == ["3"]
