"""The networks of Flax's ImageNet example, out of its published source archive.

The archive is fetched by pip and checked by SHA-256; models.py of its example is
imported from a temporary folder. Nothing of it is kept in this project.
"""

import hashlib
import importlib.util
import io
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType

from train.data.download import run

REQUIREMENT = "flax==0.12.8"
ARCHIVE = Path(__file__).parents[1] / "build" / "flax-0.12.8.tar.gz"
SHA256 = "1bb438775b967a3f1f42b9c3d4ddf1d2883cd6406589f9cecdc244634036bdc4"
MEMBER = "flax-0.12.8/examples/imagenet/models.py"


def models() -> ModuleType:
    """The example's module of networks.

    Raises:
        ValueError: the archive is another than it must be.
    """
    if not ARCHIVE.exists():
        _download()
    data = ARCHIVE.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{ARCHIVE} must have SHA-256 {SHA256}, got {found}: remove it, and it is "
            "fetched again."
        )
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None
        return _imported(member.read())


def _download() -> None:
    ARCHIVE.parent.mkdir(exist_ok=True)
    pip = (sys.executable, "-m", "pip", "download", "--quiet")
    how = ("--no-deps", "--no-binary", "flax", "--disable-pip-version-check")
    to = ("--dest", str(ARCHIVE.parent))
    run([*pip, *how, *to, REQUIREMENT], ARCHIVE.parent)


def _imported(source: bytes) -> ModuleType:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flax_example_models.py")
        path.write_bytes(source)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    return module
