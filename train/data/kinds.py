"""Which kind of set a folder looks like, for the error of one opened as another."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType


def _holds(*names: str) -> Callable[[Path], bool]:
    return lambda root: all((root / name).exists() for name in names)


def _has_class_folders(root: Path) -> bool:
    train = root / "train"
    return train.is_dir() and any(path.is_dir() for path in train.iterdir())


# data.source -> whether a folder looks like it.
SIGNS: MappingProxyType[str, Callable[[Path], bool]] = MappingProxyType(
    {
        "voc": _holds("Annotations", "ImageSets"),
        "yolo": _holds("images", "labels"),
        "coco": lambda root: any(root.glob("annotations/*.json")),
        "image_folder": _has_class_folders,
    }
)


def looks_like(root: Path) -> str | None:
    """The data.source that a folder looks like, or None.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("images", "labels"):
        ...         (Path(folder) / name).mkdir()
        ...     looks_like(Path(folder))
        'yolo'
    """
    if not root.is_dir():
        return None
    return next((name for name, sign in SIGNS.items() if sign(root)), None)
