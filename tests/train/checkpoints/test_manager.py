"""What is restored is what was saved, or an error says why not."""

import contextlib
import functools
import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.saved import assert_same_bits, at, like, names, odd_state, save

from train import sharding
from train.checkpoints import manifest
from train.checkpoints.manager import Checkpoints
from train.checkpoints.store import CheckpointError


@pytest.fixture(scope="module")
def state():
    return odd_state()


def test_a_round_trip_keeps_every_bit(tmp_path, state):
    save(tmp_path, 2, state, 7, notes={"train_seconds": 1.25})
    got, notes = Checkpoints(tmp_path).restore(like(state))
    assert_same_bits(got, at(state, 7))
    assert notes == {"train_seconds": 1.25}


def test_restored_arrays_lie_where_they_are_asked_for(tmp_path, state):
    save(tmp_path, 1, state, 1)
    wanted = like(state)
    got, _ = Checkpoints(tmp_path).restore(wanted)
    jax.tree.map(lambda a, b: a.sharding == b.sharding or pytest.fail(), got, wanted)


def test_the_last_two_are_kept(tmp_path, state):
    save(tmp_path, 2, state, 3, 6, 9)
    assert names(tmp_path) == ["6", "9"]
    assert Checkpoints(tmp_path).latest() == 9


@pytest.mark.parametrize(
    "scores, best",
    [
        ({3: 0.9, 6: 0.5, 9: 0.8}, "3"),
        ({3: 0.5, 6: 0.9, 9: 0.9}, "6"),  # the first of equals
        ({1: 0.99, 6: 0.5}, "6"),  # of those that were saved
    ],
)
def test_the_best_is_kept_beside_the_last(tmp_path, state, scores, best):
    with contextlib.closing(Checkpoints(tmp_path, 1)) as checkpoints:
        for step in (3, 6, 9, 12):
            known = {s: score for s, score in scores.items() if s <= step}
            checkpoints.save(at(state, step), {}, known)
    assert names(tmp_path) == sorted(["12", best])
    reader = Checkpoints(tmp_path)
    assert reader.best(scores) == int(best)
    assert int(reader.restore(like(state), int(best))[0].step) == int(best)
    assert reader.best({}) is None
    assert reader.latest() == 12


def test_a_step_that_is_not_there_is_an_error(tmp_path, state):
    save(tmp_path, 1, state, 3)
    with pytest.raises(CheckpointError, match=r"step 2: .*2/manifest.json cannot be"):
        Checkpoints(tmp_path).restore(like(state), 2)


def test_nothing_saved_is_an_error(tmp_path, state):
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*Train first"):
        Checkpoints(tmp_path, keep=2).restore(like(state))


def test_a_reader_makes_no_folder_and_deletes_nothing(tmp_path, state):
    assert Checkpoints(tmp_path / "none").latest() is None
    assert not (tmp_path / "none").exists()
    save(tmp_path, 2, state, 3, 6)
    unfinished = ["9.orbax-checkpoint-tmp", "1.deleted"]
    for name in unfinished:
        (tmp_path / name).mkdir()
    assert Checkpoints(tmp_path).latest() == 6
    assert names(tmp_path) == sorted(["3", "6", *unfinished])


def test_what_was_cut_off_is_cleared_away(tmp_path, state):
    save(tmp_path, 2, state, 3)
    for name in ("6.orbax-checkpoint-tmp", "6.orbax-checkpoint-tmp-1234", "1.deleted"):
        (tmp_path / name).mkdir()
    (tmp_path / "5.manifest.json.tmp").write_text("{")
    (tmp_path / "notes.txt").write_text("a person's")
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.latest() == 3
    assert names(tmp_path) == ["3", "notes.txt"]
    save(tmp_path, 2, state, 6)
    assert names(tmp_path) == ["3", "6", "notes.txt"]


@pytest.mark.parametrize("next_step", [6, 5])
def test_a_save_without_its_manifest_does_not_count(tmp_path, state, next_step):
    """Cut off after Orbax's commit; the next save may be of the same step or not."""
    save(tmp_path, 2, state, 3, 6)
    (tmp_path / "6" / "manifest.json").unlink()
    reader = Checkpoints(tmp_path)
    assert reader.latest() == 3
    assert int(reader.restore(like(state))[0].step) == 3
    save(tmp_path, 2, state, next_step)
    assert names(tmp_path) == ["3", str(next_step)]
    assert Checkpoints(tmp_path).latest() == next_step


def test_a_first_save_without_its_manifest_is_a_run_without_saves(tmp_path, state):
    save(tmp_path, 1, state, 3)
    (tmp_path / "3" / "manifest.json").unlink()
    assert Checkpoints(tmp_path, 1).latest() is None
    save(tmp_path, 1, state, 3)
    assert Checkpoints(tmp_path, 1).latest() == 3


def test_an_older_step_goes_only_when_the_new_one_can_be_trusted(
    tmp_path, state, monkeypatch
):
    seen = []

    def write(folder):
        seen.append(names(tmp_path))
        written(folder)

    written = manifest.write
    monkeypatch.setattr(manifest, "write", write)
    save(tmp_path, 1, state, 3, 6)
    assert seen == [["3"], ["3", "6"]]
    assert names(tmp_path) == ["6"]


def test_training_goes_on_while_a_save_does(tmp_path, state, monkeypatch):
    """And the next save waits for it."""
    may_go_on = threading.Event()
    written = manifest.write

    def write(folder):
        assert may_go_on.wait(600)
        written(folder)

    monkeypatch.setattr(manifest, "write", write)
    with contextlib.closing(Checkpoints(tmp_path, 2)) as checkpoints:
        checkpoints.save(at(state, 3), {})
        assert checkpoints.latest() is None
        may_go_on.set()
        checkpoints.save(at(state, 6), {})
        assert 3 in checkpoints.steps.saved()
        checkpoints.finish()
        checkpoints.finish()
        assert checkpoints.latest() == 6


@pytest.mark.parametrize("number", [1, 4])
def test_memory_that_is_given_away_while_it_is_saved(tmp_path, state, number):
    """Steps that donate their state run from the moment that `save` returns."""
    mesh = sharding.make_mesh(jax.devices()[:number])
    noise = np.random.default_rng(0).normal(size=2_000_000).astype(np.float32)
    state = state.replace(params=state.params | {"noise": noise})
    state = sharding.put_state(mesh, jax.tree.map(jnp.array, state))
    step = functools.partial(jax.jit, donate_argnums=0)(
        lambda s: s.replace(
            step=s.step + 1, params=jax.tree.map(lambda leaf: leaf * 2 + 1, s.params)
        )
    )
    wanted, steps_meanwhile = {}, 0
    with contextlib.closing(Checkpoints(tmp_path, 3)) as checkpoints:
        for _ in range(3):
            state = step(state)
            wanted[int(state.step)] = jax.tree.map(np.array, state)
            checkpoints.save(state, {})
            while not checkpoints.pending[1].done():
                state = jax.block_until_ready(step(state))
                steps_meanwhile += 1
    assert steps_meanwhile > 3
    assert set(wanted) == set(checkpoints.steps.saved())
    for number, want in wanted.items():
        assert_same_bits(Checkpoints(tmp_path).restore(like(state), number)[0], want)


def test_another_network_is_an_error_that_lists_the_arrays(tmp_path, state):
    save(tmp_path, 1, state, 1)
    shape = jax.ShapeDtypeStruct((7,), jnp.float32)
    wanted = like(state, odd=shape, extra=shape)
    del wanted.params["half"]
    with pytest.raises(CheckpointError, match="another network") as caught:
        Checkpoints(tmp_path).restore(wanted)
    message = str(caught.value)
    assert "params.odd: saved float32(5,), wanted float32(7,)" in message
    assert "params.extra: saved nothing, wanted float32(7,)" in message
    assert "params.half: saved bfloat16(5,), wanted nothing" in message
    assert "Conv_0" not in message


def test_a_long_list_is_cut(tmp_path, state):
    save(tmp_path, 1, state, 1)
    shape = jax.ShapeDtypeStruct((1,), jnp.float32)
    wanted = like(state, **{f"more{i:02}": shape for i in range(12)})
    with pytest.raises(CheckpointError, match="and 4 more"):
        Checkpoints(tmp_path).restore(wanted)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.int32])
def test_another_dtype_is_an_error_and_never_cast(tmp_path, state, dtype):
    save(tmp_path, 1, state, 1)
    wanted = like(state, odd=jax.ShapeDtypeStruct((5,), dtype))
    with pytest.raises(CheckpointError, match=r"params\.odd: saved float32"):
        Checkpoints(tmp_path).restore(wanted)


def test_the_manifest_lists_what_is_there(tmp_path, state):
    save(tmp_path, 1, state, 1)
    listed = json.loads((tmp_path / "1" / "manifest.json").read_text())["files"]
    there = {p.relative_to(tmp_path / "1") for p in tmp_path.rglob("*") if p.is_file()}
    assert {str(path) for path in there} == {*listed, "manifest.json"}
