"""Nothing is removed while a thread still writes; what is removed stays away."""

import errno
import threading

import pytest
from etils import epath

from train import steps
from train.store import Store


class Writer(threading.Thread):
    """A thread of Orbax's that writes a file once it is allowed to."""

    __module__ = "orbax.checkpoint.made_up"

    def __init__(self, path):
        super().__init__()
        self.path, self.go = path, threading.Event()

    def run(self):
        self.go.wait()
        self.path.write_text("late")


class Failing:
    """An Orbax that fails while one of its threads still writes."""

    def __init__(self, path):
        self.writer = Writer(path)

    def save(self, folder, args):
        self.writer.start()
        self.fail()

    def fail(self):
        # Allowed only now: whoever does not wait comes before the file.
        threading.Timer(0.2, self.writer.go.set).start()
        raise ValueError("no space left")


@pytest.fixture
def failing(tmp_path):
    store = Store()
    store.orbax.close()
    store.orbax = made = Failing(tmp_path / "late.txt")
    return store, made


def test_a_failed_save_is_over_when_it_is_raised(failing, tmp_path):
    store, _ = failing
    with pytest.raises(ValueError, match="no space left"):
        store.write(tmp_path / "0", {}, {})
    assert (tmp_path / "late.txt").read_text() == "late"


@pytest.mark.parametrize("end", ["wait", "close"])
def test_waiting_and_closing_wait_for_all(failing, tmp_path, end):
    store, made = failing
    made.wait_until_finished, made.close = made.fail, lambda: None
    made.writer.start()
    if end == "wait":
        with pytest.raises(ValueError, match="no space left"):
            store.wait()
    else:
        store.close()
    assert (tmp_path / "late.txt").read_text() == "late"


class Busy:
    """A folder into which files keep coming while it is removed."""

    def __init__(self, times, code):
        self.left, self.code, self.tries = times, code, 0

    def is_dir(self):
        return True

    def exists(self):
        return True

    def rmtree(self):
        self.tries += 1
        self.left -= 1
        if self.left >= 0:
            raise OSError(self.code, "again")


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(steps, "PAUSES", (0.0,) * 3)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("code", [errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT])
@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_folder_that_is_not_empty_is_removed_again(times, code):
    folder = Busy(times, code)
    steps.remove(folder)
    assert folder.tries == times + 1


@pytest.mark.usefixtures("no_pauses")
def test_files_without_end_are_an_error():
    with pytest.raises(OSError, match="again"):
        steps.remove(Busy(4, errno.ENOTEMPTY))


@pytest.mark.usefixtures("no_pauses")
def test_another_error_is_raised_at_once():
    folder = Busy(1, errno.EACCES)
    with pytest.raises(OSError, match="again"):
        steps.remove(folder)
    assert folder.tries == 1


def test_files_and_whole_folders_go(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_text("")
    (tmp_path / "d").write_text("")
    for name in "ad":
        steps.remove(epath.Path(tmp_path / name))
    assert list(tmp_path.iterdir()) == []
