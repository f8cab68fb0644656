"""The samples are found in a stated order and fetched, said aloud, as a last resort.

No test here uses a network: the fetching is replaced.
"""

import hashlib
from pathlib import Path

import pytest

from train.data.datasets import imagenet_samples
from train.data.datasets.imagenet_samples import FOLDER, Package
from train.data.download import Content, FetchError

TOY = b"a toy"
TOYS = Package(
    "toys==1.0",
    "a toy (5 bytes)",
    "toys/box",
    {"toy": Content(5, hashlib.sha256(TOY).hexdigest())},
)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty place of the checkout's, and no other."""
    monkeypatch.delenv("PRM_DATA_DIR", raising=False)
    monkeypatch.setattr(imagenet_samples, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def ask(monkeypatch):
    """Stands for pip; what it was asked for."""
    asked = []

    def wheel_files(requirement, members, scratch):
        asked.append((requirement, list(members)))
        (scratch / "toy").write_bytes(TOY)
        return [scratch / "toy"]

    monkeypatch.setattr(imagenet_samples, "wheel_files", wheel_files)
    return asked


def refuse(requirement, members, scratch):
    raise FetchError("the harbour is closed")


def test_what_is_missing_is_fetched_once_and_said(cache, ask, capsys):
    for _ in range(2):
        assert imagenet_samples.locate(TOYS) == cache
    assert ask == [("toys==1.0", ["toys/box/toy"])]
    assert (cache / "toy").read_bytes() == TOY
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for word in ("a toy (5 bytes)", "PyPI's package toys==1.0", "pip", str(cache)):
        assert word in said


def test_the_data_folder_comes_first_if_it_has_them(cache, ask, tmp_path, monkeypatch):
    monkeypatch.setenv("PRM_DATA_DIR", str(tmp_path))
    assert imagenet_samples.folder() == cache
    (tmp_path / FOLDER).mkdir()
    assert imagenet_samples.locate(TOYS) == tmp_path / FOLDER
    assert (tmp_path / FOLDER / "toy").exists()


def test_what_cannot_be_fetched_names_the_fix(cache, monkeypatch):
    monkeypatch.setattr(imagenet_samples, "wheel_files", refuse)
    with pytest.raises(FileNotFoundError) as caught:
        imagenet_samples.locate(TOYS)
    for word in ("toys==1.0", "the harbour is closed", f"or put toy into {cache}"):
        assert word in str(caught.value)
    assert not cache.exists()


def test_the_command_prints_the_folder(cache, ask, monkeypatch, capsys):
    monkeypatch.setattr(imagenet_samples, "PACKAGES", (TOYS,))
    imagenet_samples.main()
    assert capsys.readouterr().out == f"{cache}\n"


def test_the_command_finds_a_damaged_file(cache, ask, monkeypatch):
    monkeypatch.setattr(imagenet_samples, "PACKAGES", (TOYS,))
    cache.mkdir()
    (cache / "toy").write_bytes(b"a boy")
    with pytest.raises(SystemExit, match=r"toy must have 5 bytes .* Remove it"):
        imagenet_samples.main()


def test_the_command_fails_with_the_message_alone(cache, monkeypatch):
    monkeypatch.setattr(imagenet_samples, "wheel_files", refuse)
    with pytest.raises(SystemExit, match=r"^error: .* could not be fetched"):
        imagenet_samples.main()


def test_every_sample_is_known_by_size_and_hash():
    files = {
        n: c for package in imagenet_samples.PACKAGES for n, c in package.files.items()
    }
    assert len(files) == 22
    assert all(0 < c.size < 16 << 20 and len(c.sha256) == 64 for c in files.values())
    assert all(Path(name).name == name for name in files)
