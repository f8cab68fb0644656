"""`read_pth` meets other kinds of files and damaged ones: always a ValueError."""

import pickle
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prm_flax.interop.torch import read_pth

DATA = Path(__file__).parent / "data"
REAL = sorted(DATA.glob("tensors_*.pth")) + sorted(DATA.glob("checkpoint_*.pth"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid x", "Git LFS"),
        (b"\x89PNG\r\n", "begins with"),
        (pickle.dumps({"w": [1.0]}, 2), "begins with"),
    ],
)
def test_another_kind_of_file_is_told_apart(write, content, reason):
    with pytest.raises(ValueError, match=rf"weights\.pth cannot be read.*{reason}"):
        read_pth(write(content))


@pytest.mark.parametrize("real", REAL, ids=lambda path: path.stem)
def test_a_file_cut_off_anywhere_is_an_error(real, write):
    content = real.read_bytes()
    offsets = random.Random(0).sample(range(len(content)), 300)
    for offset in [*offsets, len(content) - 1]:
        with pytest.raises(ValueError, match=r"weights\.pth cannot be read"):
            read_pth(write(content[:offset]))


changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)))


@pytest.mark.parametrize("real", REAL, ids=lambda path: path.stem)
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(changes=changes)
def test_changed_bytes_give_arrays_or_a_value_error(real, changes):
    content = bytearray(real.read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        path.write_bytes(content)
        try:
            arrays = read_pth(path)
        except ValueError as error:
            assert "cannot be read" in str(error)
        else:
            assert sum(a.nbytes for a in arrays.values()) <= 4 * len(content)
