"""Whatever happens to a file after the manifest was written is found and named."""

import json
import os

import pytest
from etils import epath

from train.checkpoints import manifest
from train.checkpoints.manifest import DamagedError


@pytest.fixture
def folder(tmp_path):
    made = epath.Path(tmp_path) / "7"
    (made / "state" / "d").mkdir(parents=True)
    (made / "state" / "d" / "0a1b").write_bytes(bytes(range(256)) * 40)
    (made / "state" / "_METADATA").write_text('{"tree": 1}')
    (made / "empty").write_bytes(b"")
    manifest.write(made)
    return made


def damage(folder):
    with pytest.raises(DamagedError) as caught:
        manifest.check(folder)
    return str(caught.value)


def test_what_was_not_touched_is_good(folder):
    manifest.check(folder)
    wanted = {"empty", "state/_METADATA", "state/d/0a1b"}
    assert set(json.loads((folder / "manifest.json").read_text())["files"]) == wanted
    assert [path.name for path in folder.parent.iterdir()] == ["7"]


def test_a_flipped_bit(folder):
    path = folder / "state" / "d" / "0a1b"
    path.write_bytes(b"\x01" + path.read_bytes()[1:])
    assert damage(folder) == f"{path} does not have the SHA-256 it was saved with"


def test_a_cut_end(folder):
    path = folder / "state" / "d" / "0a1b"
    path.write_bytes(path.read_bytes()[:-1])
    assert damage(folder) == f"{path} has 10239 bytes, 10240 were saved"


@pytest.mark.parametrize("name", ["state/_METADATA", "empty"])
def test_a_lost_file(folder, name):
    (folder / name).unlink()
    assert damage(folder) == f"{folder / name} is missing"


def test_a_file_too_many(folder):
    path = folder / "state" / "d" / "ffff"
    path.write_bytes(b"")
    assert damage(folder) == f"{path} was not there when the step was saved"


def test_no_manifest(folder):
    (folder / "manifest.json").unlink()
    told = damage(folder)
    assert told.startswith(f"{folder / 'manifest.json'} cannot be read: No such file")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"files": 3}', b'{"files": null}']
)
def test_a_garbled_manifest(folder, text):
    (folder / "manifest.json").write_bytes(text)
    assert damage(folder) == f"{folder / 'manifest.json'} is no manifest"


def test_a_manifest_with_other_words_for_the_same(folder):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert damage(folder) == f"{path} is not as it was written"


@pytest.mark.parametrize("entry", [None, 3, {}, {"size": 3}])
def test_a_manifest_with_a_wrong_entry(folder, entry):
    path = folder / "manifest.json"
    written = json.loads(path.read_text())
    written["files"]["empty"] = entry
    path.write_text(json.dumps(written))
    assert damage(folder).startswith(f"{folder / 'empty'} ")


def test_a_file_that_cannot_be_read_is_named(folder, monkeypatch):
    def fails(file, name):
        raise OSError(5, "Input/output error", file.name)

    monkeypatch.setattr(manifest.hashlib, "file_digest", fails)
    assert damage(folder) == f"{folder / 'empty'} cannot be read: Input/output error"


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="/proc is Linux's")
def test_the_files_reach_the_disk_before_the_manifest_has_its_name(folder, monkeypatch):
    synced = []

    def fsync(handle):
        named = (folder / "manifest.json").exists()
        synced.append((os.readlink(f"/proc/self/fd/{handle}"), named))

    (folder / "manifest.json").unlink()
    monkeypatch.setattr(os, "fsync", fsync)
    manifest.write(folder)
    files = ("empty", "state/_METADATA", "state/d/0a1b")
    before = [str(folder / name) for name in files]
    before += [str(folder.parent / "7.manifest.json.tmp")]
    after = [str(folder), str(folder.parent)]
    assert synced == [(path, False) for path in before] + [(p, True) for p in after]
