"""One run at a time in a folder."""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from etils import epath

from prm_flax.printable import printable
from train.workdir.files import FULL, is_local
from train.workdir.lease import Lease, Timing, WorkdirError, in_use

MOUNTS = Path("/proc/self/mounts")  # Linux
# Other machines write there too, and a lock of this one's kernel may tell them nothing.
SHARED = ("9p", "afs", "beegfs", "ceph", "cifs", "fuse", "gfs2", "glusterfs", "gpfs")
SHARED += ("lustre", "nfs", "ocfs2", "orangefs", "pvfs2", "smb", "virtiofs", "wekafs")


def is_shared(path: Path, mounts: Path = MOUNTS) -> bool:
    """Whether other machines may see the path; False where nothing tells."""
    # By how the names begin: nfs4, smb3, fuse.sshfs.
    return _kind(path.resolve(), mounts).startswith(SHARED)


def _kind(path: Path, mounts: Path) -> str:
    """The file system's name, that of the deepest mount above the path."""
    if not mounts.exists():
        return ""
    lines = [line.split() for line in mounts.read_text().splitlines()]
    # Blanks in a path are written \040, and so on.
    points = [(_plain(fields[1]), fields[2]) for fields in lines]
    above = [(point, kind) for point, kind in points if path.is_relative_to(point)]
    # Of two mounts on one point the later hides the earlier.
    deepest = max((len(Path(point).parts) for point, _ in above), default=0)
    kinds = [kind for point, kind in above if len(Path(point).parts) == deepest]
    return kinds[-1] if kinds else ""


def _plain(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)


# What flock says on file systems that have no locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def prepare_workdir(workdir: epath.PathLike) -> None:
    """Makes the folder and writes a probe into it.

    Raises:
        WorkdirError: it is a file, is read-only, its disk is full, or its name is no
            text.
    """
    folder = epath.Path(workdir)
    _check_text(os.path.abspath(folder) if is_local(folder) else str(folder))
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(1 << 20))
    except OSError as error:
        help = "Make room" if error.errno in FULL else "Put that right"
        raise WorkdirError(
            f"workdir must be a folder that can be written to: {workdir}: "
            f"{error.strerror}. {help}, or choose another with --workdir."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _check_text(path: str) -> None:
    """Orbax hands paths to C++, as UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise WorkdirError(
            f"workdir must have a name of UTF-8, or no run can be saved in it: "
            f"{printable(path)}. Choose another with --workdir."
        ) from error


@contextlib.contextmanager
def lock(
    workdir: epath.PathLike, shared: bool | None = None, timing: Timing | None = None
) -> Iterator[Callable[[], None]]:
    """Holds the folder; gives a function that raises if it is held no longer.

    A local folder is locked by the kernel, which lets go of it even when the process is
    killed. One that other machines see has a lease (lease.py), which a run that was
    killed leaves: the next one waits a minute.

    Args:
        workdir: the folder.
        shared: whether other machines see it; None to find out.
        timing: of the lease.

    Raises:
        WorkdirError: another run holds it.
    """
    folder = epath.Path(workdir)
    if shared is None:
        shared = not is_local(folder) or is_shared(Path(folder))
    with contextlib.ExitStack() as held:
        if not shared and _flock(held, folder):
            yield lambda: None
            return
        lease = Lease(folder, timing or Timing())
        lease.acquire()
        held.callback(lease.release)
        yield lease.check


def _flock(held: contextlib.ExitStack, folder: epath.Path) -> bool:
    """Locks a file until `held` ends; False if the file system has no locks."""
    file = held.enter_context(open(folder / ".lock", "a+"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise in_use(folder, f"process {file.read().strip() or 'unknown'}") from error
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return True
