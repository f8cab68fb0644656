"""What is restored is what was saved, or an error says why not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.nets import Net, batch, new_state, new_step
from support.run import files_no_larger_than

from train import sharding
from train.checkpoint import CheckpointError, Checkpoints


def at(state, step):
    return state.replace(step=jnp.asarray(step, jnp.int32))


@pytest.fixture(scope="module")
def state():
    """After one update, so that momentum and statistics are not zeros."""
    after = jax.jit(new_step(Net()))(new_state(Net()), batch(0))
    # Numbers that a careless way through text or another dtype would change.
    odd = jnp.array([jnp.nan, -0.0, 1e-42, jnp.inf, 1 / 3], jnp.float32)
    params = after.params | {"odd": odd, "half": odd.astype(jnp.bfloat16)}
    return after.replace(params=params)


def like(state, **changes):
    """What to restore to: shapes, dtypes and a sharding over all devices."""
    whole = sharding.replicated(sharding.make_mesh())
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), state
    )
    return shapes.replace(params=shapes.params | changes)


def assert_same_bits(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_a_round_trip_keeps_every_bit(tmp_path, state):
    Checkpoints(tmp_path, keep=2).save(at(state, 7), {"train_seconds": 1.25})
    got, notes = Checkpoints(tmp_path).restore(like(state))
    assert_same_bits(got, at(state, 7))
    assert notes == {"train_seconds": 1.25}


def test_restored_arrays_lie_where_they_are_asked_for(tmp_path, state):
    Checkpoints(tmp_path, keep=1).save(state, {})
    wanted = like(state)
    got, _ = Checkpoints(tmp_path).restore(wanted)
    jax.tree.map(lambda a, b: a.sharding == b.sharding or pytest.fail(), got, wanted)


def test_the_last_two_are_kept(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (3, 6, 9):
        checkpoints.save(at(state, step), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["6", "9"]
    assert checkpoints.latest() == 9


def test_nothing_saved_is_an_error(tmp_path, state):
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*Train first"):
        Checkpoints(tmp_path, keep=2).restore(like(state))


def test_a_reader_makes_no_folder_and_deletes_nothing(tmp_path, state):
    assert Checkpoints(tmp_path / "none").latest() is None
    assert not (tmp_path / "none").exists()
    Checkpoints(tmp_path, keep=2).save(at(state, 3), {})
    Checkpoints(tmp_path, keep=2).save(at(state, 6), {})
    unfinished = tmp_path / "9.orbax-checkpoint-tmp"
    unfinished.mkdir()
    assert Checkpoints(tmp_path).latest() == 6
    assert {path.name for path in tmp_path.iterdir()} == {"3", "6", unfinished.name}


def test_a_save_that_was_cut_off_is_cleared_away(tmp_path, state):
    Checkpoints(tmp_path, keep=2).save(at(state, 3), {})
    (tmp_path / "6.orbax-checkpoint-tmp").mkdir()
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.latest() == 3
    checkpoints.save(at(state, 6), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "6"]


def test_another_network_is_an_error_that_lists_the_arrays(tmp_path, state):
    Checkpoints(tmp_path, keep=1).save(state, {})
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
    Checkpoints(tmp_path, keep=1).save(state, {})
    shape = jax.ShapeDtypeStruct((1,), jnp.float32)
    wanted = like(state, **{f"more{i:02}": shape for i in range(12)})
    with pytest.raises(CheckpointError, match="and 4 more"):
        Checkpoints(tmp_path).restore(wanted)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.int32])
def test_another_dtype_is_an_error_and_never_cast(tmp_path, state, dtype):
    Checkpoints(tmp_path, keep=1).save(state, {})
    wanted = like(state, odd=jax.ShapeDtypeStruct((5,), dtype))
    with pytest.raises(CheckpointError, match=r"params\.odd: saved float32"):
        Checkpoints(tmp_path).restore(wanted)


# A thread of Orbax still wants to speak to the event loop that the failure closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_failed_save_is_an_error_and_the_earlier_is_intact(tmp_path, state):
    noise = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    large = state.replace(params=state.params | {"noise": jnp.asarray(noise)})
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(at(large, 3), {"train_seconds": 3.0})
    with files_no_larger_than(100_000):
        with pytest.raises(CheckpointError, match=r"step 6 could not be saved.*intact"):
            checkpoints.save(at(large, 6), {})

    again = Checkpoints(tmp_path, keep=1)
    got, notes = again.restore(like(large))
    assert_same_bits(got, at(large, 3))
    assert notes == {"train_seconds": 3.0}
    again.save(at(large, 6), {})
    assert [path.name for path in tmp_path.iterdir()] == ["6"]
