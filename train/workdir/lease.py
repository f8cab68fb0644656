"""A folder held by a file that its owner keeps renewing.

For folders that other machines see, where a lock of the kernel may hold on one machine
alone. No clock is compared with another machine's: whoever comes watches the file, and
takes it over once it has not changed for a minute by his own.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass

from etils import epath

from train.distributed import say
from train.workdir.files import write_whole

FILE = ".owner"


class WorkdirError(RuntimeError):
    """The run's folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Timing:
    """Seconds.

    Attributes:
        beat: between two renewals.
        stale: without one the owner is gone; many beats, as a disk may be slow.
        settle: in which two that claim at once see each other's writing.
    """

    beat: float = 5.0
    stale: float = 60.0
    settle: float = 2.0


class Lease:
    """This process, as the owner of a folder."""

    def __init__(self, workdir: epath.Path, timing: Timing):
        self.workdir, self.path, self.timing = workdir, workdir / FILE, timing
        self.token, self.beats = uuid.uuid4().hex, 0
        self.successor = ""
        self.released = threading.Event()
        self.thread = threading.Thread(target=self._renew, name="owner", daemon=True)

    def acquire(self) -> None:
        """Takes the folder, and keeps it until `release`.

        Raises:
            WorkdirError: another run holds it.
        """
        self._check_free()
        self._write()
        time.sleep(self.timing.settle)
        now = self._read()
        if not self._is_mine(now):
            raise in_use(self.workdir, _name(now))
        self.thread.start()

    def check(self) -> None:
        """Raises WorkdirError if another run took the folder over."""
        if self.successor:
            raise WorkdirError(
                f"{self.workdir} was taken over by {self.successor}: this run gave no "
                f"sign of life for {self.timing.stale:.0f} s. Was it suspended? That "
                "run goes on from the last step saved."
            )

    def release(self) -> None:
        """Lets go of the folder."""
        self.released.set()
        self.thread.join()
        with contextlib.suppress(OSError):
            if self._is_mine(self._read()):
                self.path.unlink()

    def _check_free(self) -> None:
        """Returns if nobody owns it, or the owner is silent for long."""
        before = self._read()
        if not before:
            return
        say(
            f"{self.workdir} is or was held by {_name(before)}; waiting up to "
            f"{self.timing.stale:.0f} s for a sign of life."
        )
        end = time.monotonic() + self.timing.stale
        while time.monotonic() < end:
            time.sleep(self.timing.beat / 5)
            now = self._read()
            if not now:
                return
            if now != before:
                raise in_use(self.workdir, _name(now))

    def _renew(self) -> None:
        while not self.released.wait(self.timing.beat):
            # A write that fails may succeed at the next beat.
            with contextlib.suppress(OSError):
                now = self._read()
                if now and not self._is_mine(now):
                    self.successor = _name(now)
                    return
                self._write()

    def _write(self) -> None:
        self.beats += 1
        mark = {"process": os.getpid(), "host": socket.gethostname()}
        text = json.dumps(mark | {"token": self.token, "beat": self.beats})
        write_whole(self.path, text.encode())

    def _read(self) -> str:
        """What is written there, "" if nothing is."""
        try:
            return self.path.read_text()
        except FileNotFoundError:
            return ""

    def _is_mine(self, text: str) -> bool:
        return self.token in text


def in_use(workdir: epath.PathLike, holder: str) -> WorkdirError:
    """Another run is in the folder."""
    return WorkdirError(
        f"workdir is in use by another run: {workdir} ({holder}). Wait for it to end, "
        "or choose another with --workdir."
    )


def _name(text: str) -> str:
    """Who wrote an owner file."""
    try:
        mark = json.loads(text)
        return f"process {mark['process']} on {mark['host']}"
    except (ValueError, TypeError, KeyError):
        return "unknown"
