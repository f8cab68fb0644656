"""Fashion-MNIST is found in a stated order, checked, and fetched only as a last resort.

No test here uses a network: the ways of fetching are replaced.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from train.data.datasets import fashion_mnist
from train.data.datasets.idx import load_idx
from train.data.download import FetchError

TINY = Path(__file__).parents[3] / "data" / "fashion_mnist_tiny"
COMPLETE = fashion_mnist.find()
needs_complete = pytest.mark.skipif(
    COMPLETE is None,
    reason="Fashion-MNIST is not on this machine: make data",
)


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    """Moves the usual places into an empty folder and forbids fetching."""
    monkeypatch.delenv("PRM_DATA_DIR", raising=False)
    monkeypatch.setattr(fashion_mnist, "SYSTEM", tmp_path / "system")
    monkeypatch.setattr(fashion_mnist, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(fashion_mnist, "WAYS", (("a ship", refuse),))
    return tmp_path


def refuse(scratch: Path) -> Path:
    """Fetches nothing."""
    raise FetchError("the harbour is closed")


def test_a_named_folder_comes_before_all_else(places, write_set, monkeypatch):
    for name in ("system", "cache", "variable", "named"):
        write_set(places / name)
    monkeypatch.setenv("PRM_DATA_DIR", str(places / "variable"))
    named = str(places / "named")
    assert fashion_mnist.locate(named) == places / "named"
    assert fashion_mnist.locate() == places / "variable"
    monkeypatch.delenv("PRM_DATA_DIR")
    assert fashion_mnist.locate() == places / "system"
    shutil.rmtree(places / "system")
    assert fashion_mnist.locate() == places / "cache"


def test_the_variable_may_name_the_folder_above(places, write_set, monkeypatch):
    write_set(places / "sets" / "fashion-mnist")
    monkeypatch.setenv("PRM_DATA_DIR", str(places / "sets"))
    assert fashion_mnist.find() == places / "sets" / "fashion-mnist"


@pytest.mark.parametrize("ask", [fashion_mnist.find, fashion_mnist.locate])
def test_a_named_folder_without_the_files_is_an_error(
    places, write_set, monkeypatch, ask
):
    write_set(places / "cache")
    with pytest.raises(FileNotFoundError, match=r"the data folder is .*nowhere"):
        ask(str(places / "nowhere"))
    monkeypatch.setenv("PRM_DATA_DIR", str(places / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"PRM_DATA_DIR is .*nowhere"):
        ask()


def test_finding_never_fetches(places):
    assert fashion_mnist.find() is None


def test_one_error_lists_every_place_and_every_way(places, capsys):
    with pytest.raises(FileNotFoundError) as caught:
        fashion_mnist.locate()
    message = str(caught.value)
    for part in (
        "system: ",
        "cache: ",
        "a ship: the harbour is closed",
        "set PRM_DATA",
    ):
        assert part in message
    assert f"fetching a ship into {places / 'cache'}" in capsys.readouterr().err


def test_what_was_fetched_is_kept_whole(places, write_set, monkeypatch):
    arrived = write_set(places / "arrived")
    ways = (("a ship", refuse), ("a train", lambda scratch: arrived))
    monkeypatch.setattr(fashion_mnist, "WAYS", ways)
    monkeypatch.setattr(fashion_mnist, "SHA256", dict.fromkeys(fashion_mnist.SHA256))
    assert fashion_mnist.locate() == places / "cache"
    names = {path.name for path in arrived.iterdir()}
    assert {path.name for path in (places / "cache").iterdir()} == names


def test_what_was_fetched_wrong_is_not_kept(places, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "WAYS", (("a ship", lambda scratch: TINY),))
    with pytest.raises(FileNotFoundError, match=r"a ship: .*SHA-256"):
        fashion_mnist.locate()
    assert not (places / "cache").exists()


def test_other_content_under_the_right_names_is_refused():
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz: SHA-256 .* got"):
        fashion_mnist.load_fashion_mnist(str(TINY))


def test_the_command_fails_with_the_message_alone(places):
    with pytest.raises(
        SystemExit, match=r"^error: Fashion-MNIST is not on this machine"
    ):
        fashion_mnist.main()


@needs_complete
def test_the_command_prints_the_folder(capsys):
    fashion_mnist.main()
    assert capsys.readouterr().out == f"{COMPLETE}\n"


@needs_complete
def test_the_complete_set_has_7000_pictures_of_each_class():
    train, test = fashion_mnist.load_fashion_mnist()
    assert train.images.shape == (60_000, 28, 28, 1)
    assert test.images.shape == (10_000, 28, 28, 1)
    assert np.bincount(train.labels).tolist() == [6_000] * 10
    assert np.bincount(test.labels).tolist() == [1_000] * 10
    assert train.class_names[9] == "Ankle boot"


@needs_complete
def test_the_tiny_set_is_the_beginning_of_the_complete_one():
    complete = fashion_mnist.load_fashion_mnist()
    for whole, part in zip(complete, load_idx(TINY), strict=True):
        np.testing.assert_array_equal(whole.images[: len(part)], part.images)
        np.testing.assert_array_equal(whole.labels[: len(part)], part.labels)
