"""A run's folder may be in a bucket; here the bucket is in memory."""

import json

import pytest
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem

from train.checkpoints.steps import Steps
from train.config import Config
from train.scalars import Scalars, read
from train.workdir.files import is_local, local, write_whole
from train.workdir.lease import Timing
from train.workdir.lock import WorkdirError, lock, prepare_workdir
from train.workdir.same_config import write_config

# Whoever lives is waited for, as the machine may be busy.
QUICK = Timing(beat=0.05, stale=3600, settle=0.02)


class Bucket(MemoryFileSystem):
    """Memory under the names of a bucket; it cannot append, as no bucket can."""

    protocol = "gs"
    cachable = False

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("gs://"))

    def open(self, path, mode="rb", **kwargs):
        assert "a" not in mode
        return super().open(path, mode, **kwargs)


@pytest.fixture
def folder(monkeypatch):
    bucket = Bucket()
    monkeypatch.setattr(Bucket, "store", {})
    monkeypatch.setattr(Bucket, "pseudo_dirs", [""])
    backend = epath.backend.fsspec_backend
    monkeypatch.setattr(type(backend), "_get_filesystem", lambda self, name: bucket)
    monkeypatch.setattr(epath.gpath._GPath, "_backend", property(lambda self: backend))
    return epath.Path("gs://bucket/runs/one")


@pytest.mark.parametrize("path, said", [("gs://a/b", False), ("/a/b", True)])
def test_what_is_local(path, said):
    assert is_local(path) == is_local(epath.Path(path)) == said


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_numbers_are_written_to_a_bucket(folder):
    prepare_workdir(folder)
    log = Scalars(folder, 0)
    for step in (1, 2, 3):
        log.write({"kind": "train", "step": step, "loss": 0.5 / step})
    path = folder / "scalars.jsonl"
    assert [record["step"] for record in read(path)] == [1, 2, 3]
    assert Scalars(folder, 2).of("train") == read(path) == log.of("train")[:2]


def test_a_bucket_belongs_to_one_config_and_one_run(folder):
    prepare_workdir(folder)
    write_config(folder, Config(name="one"))
    assert json.loads((folder / "config.json").read_text())["name"] == "one"
    with pytest.raises(WorkdirError, match=r"holds a run of another config \(seed"):
        write_config(folder, Config(name="one", seed=3))
    with lock(folder, timing=QUICK) as still_ours:
        still_ours()
        with pytest.raises(WorkdirError, match="in use by another run"):
            with lock(folder, timing=QUICK):
                pass
    with lock(folder, timing=QUICK):
        pass


def test_steps_are_found_in_a_bucket(folder):
    (folder / "7").mkdir(parents=True)
    (folder / "7" / "manifest.json").write_text("{}")
    (folder / "9").mkdir()
    (folder / "9" / "part").write_text("")
    steps = Steps(folder)
    assert (steps.all(), steps.saved()) == ([7, 9], [7])


def test_what_libraries_write_stays_here(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert local(folder) == tmp_path
    assert local(epath.Path("runs/one")).as_posix() == "runs/one"
