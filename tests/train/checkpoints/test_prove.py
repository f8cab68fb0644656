"""A run shows that it can save before it trains, and loses nothing by that."""

import contextlib
import os
from pathlib import Path

import pytest
from support.folders import no_root
from support.run import files_no_larger_than
from support.saved import assert_same_bits, at, like, names, odd_state, save

from train.checkpoints import manifest
from train.checkpoints.manager import Checkpoints
from train.checkpoints.store import CheckpointError


@pytest.fixture(scope="module")
def state():
    return odd_state()


def prove(folder, state, step, keep=2):
    with contextlib.closing(Checkpoints(folder, keep)) as checkpoints:
        checkpoints.prove(at(state, step), {"train_seconds": 1.5})


def refused(folder, state, step):
    with pytest.raises(
        CheckpointError, match=r"^nothing was trained, as step"
    ) as error:
        prove(folder, state, step)
    assert "intact" in str(error.value)
    return str(error.value)


def files(folder):
    return {p: p.stat().st_mtime_ns for p in [folder, *folder.rglob("*")]}


def test_a_new_run_can_be_resumed_at_once(tmp_path, state):
    prove(tmp_path, state, 0)
    assert names(tmp_path) == ["0"]
    got, notes = Checkpoints(tmp_path).restore(like(state))
    assert_same_bits(got, at(state, 0))
    assert notes == {"train_seconds": 1.5}


def test_step_0_goes_when_enough_are_saved(tmp_path, state):
    prove(tmp_path, state, 0)
    save(tmp_path, 2, state, 3)
    assert names(tmp_path) == ["0", "3"]
    save(tmp_path, 2, state, 6)
    assert names(tmp_path) == ["3", "6"]


def test_what_a_run_goes_on_from_is_safe_all_the_while(tmp_path, state, monkeypatch):
    save(tmp_path, 2, state, 3, 6)
    before, seen, written = files(tmp_path / "6"), [], manifest.write

    def write(folder):
        written(folder)
        seen.append((names(tmp_path), Checkpoints(tmp_path).latest()))

    monkeypatch.setattr(manifest, "write", write)
    prove(tmp_path, state, 6)
    assert seen == [(["3", "6", "6.proof"], 6)]
    assert names(tmp_path) == ["3", "6"]
    assert files(tmp_path / "6") == before


def test_a_copy_that_a_kill_left_is_removed(tmp_path, state):
    save(tmp_path, 2, state, 6)
    for left in ("6.proof", "6.proof.orbax-checkpoint-tmp"):
        (tmp_path / left).mkdir()
    (tmp_path / "6.proof.manifest.json.tmp").write_text("{")
    assert Checkpoints(tmp_path, 2).latest() == 6
    assert names(tmp_path) == ["6"]


@pytest.mark.parametrize("step", [0, 3])
def test_a_full_disk_is_the_one_thing_that_asks_for_room(tmp_path, state, step):
    save(tmp_path, 2, state, 3)
    with files_no_larger_than(1_000):
        said = refused(tmp_path, state, step)
    assert "File too large" in said and "Make room" in said
    assert_same_bits(Checkpoints(tmp_path, 2).restore(like(state))[0], at(state, 3))
    assert names(tmp_path) == ["3"]


def test_rights_are_named(tmp_path, state):
    folder = tmp_path / "checkpoints"
    save(folder, 2, state, 3)
    os.chmod(folder, 0o555)
    try:
        with no_root():
            said = refused(folder, state, 3)
    finally:
        os.chmod(folder, 0o755)
    assert "Permission denied" in said and "Make room" not in said


def test_an_error_of_a_library_is_called_that_with_its_type(
    tmp_path, state, monkeypatch
):
    checkpoints = Checkpoints(tmp_path, 2)

    def broken(*_, **__):
        raise ValueError("an argument array had 2 shard(s)")

    monkeypatch.setattr(checkpoints.store.orbax, "save", broken)
    with pytest.raises(CheckpointError) as error:
        checkpoints.prove(at(state, 0), {})
    checkpoints.close()
    assert "an argument array had 2 shard(s)" in str(error.value)
    assert "an error of a library, builtins.ValueError" in str(error.value)
    assert "Make room" not in str(error.value)


def test_what_cannot_be_read_back_is_refused(tmp_path, state, monkeypatch):
    written = manifest.write

    def write(folder):
        written(folder)
        (Path(folder) / "_CHECKPOINT_METADATA").write_bytes(b"lost")

    monkeypatch.setattr(manifest, "write", write)
    assert "has 4 bytes, " in refused(tmp_path, state, 0)


def test_other_bits_than_were_saved_are_refused(tmp_path, state, monkeypatch):
    checkpoints = Checkpoints(tmp_path, 1)
    bent = state.replace(params=state.params | {"odd": -state.params["odd"]})
    monkeypatch.setattr(checkpoints.store, "read", lambda *_: (at(bent, 0), {}))
    with pytest.raises(CheckpointError, match=r"does not give back params\.odd"):
        checkpoints.prove(at(state, 0), {})
    checkpoints.close()
