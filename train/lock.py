"""One run at a time in a folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class WorkdirError(RuntimeError):
    """The run's folder cannot be used; the message says why and what to do."""


def prepare_workdir(workdir: Path) -> None:
    """Makes the folder and writes a probe into it.

    Raises:
        WorkdirError: it is a file, is read-only, or its disk is full.
    """
    probe = workdir / f".probe-{os.getpid()}"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(1 << 20))
    except OSError as error:
        raise WorkdirError(
            f"workdir must be a folder that can be written to: {workdir}: "
            f"{error.strerror}. Make room, or choose another with --workdir."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(workdir: Path) -> Iterator[None]:
    """Holds the folder; the kernel lets go of it even when the process is killed.

    Raises:
        WorkdirError: another run holds it.
    """
    path = workdir / ".lock"
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise WorkdirError(
                f"workdir is in use by another run: {workdir} (process {holder}). Wait "
                "for it to end, or choose another with --workdir."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
