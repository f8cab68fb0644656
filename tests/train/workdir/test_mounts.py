"""Whether other machines see a folder, from lists of mounts."""

from pathlib import Path

import pytest

from train.workdir.lock import is_shared

MOUNTS = """\
/dev/sda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb /home/local xfs rw 0 0
server:/a /with\\040blank nfs rw 0 0
me@host: /remote fuse.sshfs rw 0 0
server:/b /twice nfs rw 0 0
/dev/sdc /twice ext4 rw 0 0
"""


@pytest.mark.parametrize(
    "path, shared",
    [
        ("/somewhere/runs", False),
        ("/home", True),
        ("/home/me/runs", True),
        ("/homes", False),
        ("/home/local/runs", False),
        ("/home/locals", True),
        ("/with blank/runs", True),
        ("/remote/runs", True),
        ("/twice/runs", False),
    ],
)
def test_the_deepest_mount_decides(tmp_path, path, shared):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert is_shared(Path(path), mounts) is shared


def test_without_a_list_a_folder_is_local(tmp_path):
    assert not is_shared(tmp_path, tmp_path / "none")


def test_a_link_is_followed(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path.resolve()}/there nfs rw 0 0\n")
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert is_shared(tmp_path / "link", mounts)
