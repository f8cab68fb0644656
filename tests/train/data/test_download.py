"""Fetching, without a network: stand-ins for the tools, real files."""

import hashlib
import os
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from train.data.download import FetchError, debian_package, publish, tfds_originals

# Downloads only with package lists of its own, as where the system's are empty.
APT_GET = """#!/bin/sh
case "$*" in
  *Dir::State=*update) touch updated ;;
  *Dir::State=*download*) test -e updated && touch "toys.deb" ;;
  *) echo "E: Unable to locate package toys" >&2; exit 100 ;;
esac
"""
DPKG_DEB = """#!/bin/sh
mkdir -p "$3/usr/share/toys" && touch "$3/usr/share/toys/ball"
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Puts scripts named apt-get and dpkg-deb in front of the real ones."""

    def install(apt_get: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, script in (("apt-get", apt_get), ("dpkg-deb", DPKG_DEB)):
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return install


@pytest.fixture
def scratch(tmp_path) -> Path:
    """An empty folder."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def test_a_package_comes_even_where_the_system_lists_are_empty(tools, scratch):
    tools(APT_GET)
    folder = debian_package("toys", "usr/share/toys", scratch)
    assert [path.name for path in folder.iterdir()] == ["ball"]


def test_a_package_that_does_not_come_tells_what_apt_said(tools, scratch):
    tools("#!/bin/sh\necho 'E: no network' >&2; exit 100\n")
    with pytest.raises(FetchError, match="apt-get: E: no network"):
        debian_package("toys", "usr/share/toys", scratch)


def test_a_machine_without_apt_is_told_so(scratch, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FetchError, match="apt-get is not installed"):
        debian_package("toys", "usr/share/toys", scratch)


def test_a_missing_tensorflow_datasets_is_named(scratch, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(FetchError, match="pip install tensorflow-datasets"):
        tfds_originals("toys", scratch)


@pytest.fixture
def toy_server(tmp_path, monkeypatch):
    """Serves one file on this machine and lists it in tfds as the set `toys`."""
    tfds = pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.core.download.checksums import UrlInfo

    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "ball.gz").write_bytes(b"round")
    handler = partial(QuietHandler, directory=str(tmp_path / "shop"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    info = UrlInfo(5, hashlib.sha256(b"round").hexdigest(), "ball.gz")
    url = f"http://127.0.0.1:{server.server_port}/ball.gz"
    toys = SimpleNamespace(url_infos={url: info})
    monkeypatch.setattr(tfds, "builder_cls", {"toys": toys}.__getitem__)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line about each."""

    def log_message(self, *_) -> None:
        """Say nothing."""


def test_tensorflow_datasets_gives_the_original_files(toy_server, scratch):
    folder = tfds_originals("toys", scratch)
    assert (folder / "ball.gz").read_bytes() == b"round"


def test_a_file_changed_on_its_server_is_refused(toy_server, scratch, tmp_path):
    (tmp_path / "shop" / "ball.gz").write_bytes(b"flat!")
    with pytest.raises(FetchError, match="Checksum"):
        tfds_originals("toys", scratch)


def test_without_a_network_tfds_fails_at_once(toy_server, scratch):
    toy_server.shutdown()
    toy_server.server_close()
    with pytest.raises(FetchError, match="refused"):
        tfds_originals("toys", scratch)


def test_published_files_replace_old_ones_and_leave_nothing_else(tmp_path):
    (tmp_path / "new").write_bytes(b"whole")
    into = tmp_path / "made" / "here"
    for _ in range(2):
        publish([tmp_path / "new"], into)
    assert [(p.name, p.read_bytes()) for p in into.iterdir()] == [("new", b"whole")]


def test_a_copy_that_fails_leaves_no_part_of_it(tmp_path):
    (tmp_path / "new").write_bytes(b"whole")
    (tmp_path / "into" / "new").mkdir(parents=True)  # a folder is in the way
    with pytest.raises(IsADirectoryError):
        publish([tmp_path / "new"], tmp_path / "into")
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["new"]
