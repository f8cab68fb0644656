"""A damaged checkpoint is never used; the one before it is, and the file is named."""

import random
import shutil

import pytest
from support.saved import assert_same_bits, at, like, names, odd_state, save

from train.checkpoints.manager import Checkpoints
from train.checkpoints.steps import Steps
from train.checkpoints.store import CheckpointError


@pytest.fixture(scope="module")
def state():
    return odd_state()


@pytest.fixture
def folder(tmp_path, state):
    """Steps 3, 6 and 9."""
    save(tmp_path, 3, state, 3, 6, 9)
    return tmp_path


def files(step):
    return sorted(path for path in step.rglob("*") if path.is_file())


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_300_single_bit_flips(tmp_path, state):
    """In every file, the manifest too; half of them where most of the bytes are."""
    save(tmp_path, 1, state, 3)
    steps, choose = Steps(tmp_path), random.Random(0)
    every = [path for path in files(tmp_path / "3") if path.stat().st_size]
    sizes = [path.stat().st_size for path in every]
    chosen = choose.choices(every, sizes, k=150)
    chosen += [every[i % len(every)] for i in range(150)]
    for path in chosen:
        bit = choose.randrange(path.stat().st_size * 8)
        flip(path, bit)
        found = steps.look(3)
        # A flip in the manifest may read as one in the file that it speaks of.
        assert found.step is None, (path, bit)
        assert str(path) in found.damaged[3] or path.name == "manifest.json"
        flip(path, bit)
    assert steps.look(3).step == 3
    assert set(chosen) == set(every)


def arrays(step):
    """The largest of its files."""
    return max(files(step), key=lambda path: path.stat().st_size)


def cut(step):
    path = arrays(step)
    path.write_bytes(path.read_bytes()[:-1])
    return path


def lose(step):
    path = arrays(step)
    path.unlink()
    return path


def add(step):
    path = step / "state" / "more"
    path.write_text("more")
    return path


def garble(step):
    path = step / "manifest.json"
    path.write_text("{")
    return path


def rot(step):
    path = arrays(step)
    flip(path, 12345)
    return path


@pytest.mark.parametrize("damage", [cut, lose, add, garble, rot])
def test_the_step_before_is_restored(folder, state, damage, capsys):
    damaged = damage(folder / "9")
    got, _ = Checkpoints(folder).restore(like(state))
    assert_same_bits(got, at(state, 6))
    said = capsys.readouterr().out
    assert said.startswith(f"step 9 is damaged: {damaged} ")
    assert said.endswith(". Using step 6.\n")


def test_who_saves_sets_it_aside_and_goes_on(folder, state, capsys):
    rot(folder / "9")
    (folder / "9.damaged").mkdir()  # of an earlier time
    checkpoints = Checkpoints(folder, 2)
    assert int(checkpoints.restore(like(state))[0].step) == 6
    assert f"(now {folder}/9.damaged)" in capsys.readouterr().out
    assert checkpoints.latest() == 6
    assert names(folder) == ["3", "6", "9.damaged"]
    assert arrays(folder / "9.damaged").exists()
    save(folder, 2, state, 9)
    assert names(folder) == ["6", "9", "9.damaged"]
    assert int(Checkpoints(folder).restore(like(state))[0].step) == 9


def test_a_reader_changes_nothing(folder, state):
    rot(folder / "9")
    Checkpoints(folder).restore(like(state))
    assert names(folder) == ["3", "6", "9"]


def test_two_are_damaged(folder, state, capsys):
    rot(folder / "9")
    lose(folder / "6")
    assert int(Checkpoints(folder).restore(like(state))[0].step) == 3
    assert capsys.readouterr().out.count("Using step 3.") == 2


def test_all_are_damaged(folder, state):
    paths = [rot(folder / str(step)) for step in (9, 6, 3)]
    checkpoints = Checkpoints(folder, 2)
    assert checkpoints.latest() == 9
    with pytest.raises(CheckpointError, match="as it was saved") as caught:
        checkpoints.restore(like(state))
    assert all(str(path) in str(caught.value) for path in paths)
    assert names(folder) == ["3", "6", "9"]


def test_an_older_step_without_a_manifest_is_damaged(folder, state):
    """Of a version without manifests, for one: no reason to start anew in silence."""
    for step in ("3", "6", "9"):
        (folder / step / "manifest.json").unlink()
    checkpoints = Checkpoints(folder, 2)
    assert checkpoints.latest() == 6
    with pytest.raises(
        CheckpointError, match=r"step 6: .*manifest.json cannot be read"
    ):
        checkpoints.restore(like(state))


def test_a_damaged_step_that_is_asked_for(folder, state):
    damaged = rot(folder / "6")
    with pytest.raises(CheckpointError, match=f"step 6: {damaged} "):
        Checkpoints(folder).restore(like(state), 6)


def test_a_step_copied_back_is_good_again(folder, state):
    shutil.copytree(folder / "9", folder.parent / "copy")
    rot(folder / "9")
    shutil.rmtree(folder / "9")
    shutil.copytree(folder.parent / "copy", folder / "9")
    assert int(Checkpoints(folder).restore(like(state))[0].step) == 9
