"""What kind of file system a path is on."""

import re
from pathlib import Path

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
