"""Twenty photos of ImageNet's classes, to test a network on where ImageNet is not."""

from dataclasses import dataclass
from pathlib import Path

from train.data.datasets.imagenet_samples import NAMES, PHOTOS, class_names, locate
from train.data.digest import digest
from train.data.records.base import MAX_BYTES, Record, RecordSplits, read_file


@dataclass(frozen=True)
class Photos:
    """Photos whose names end in their labels.

    Attributes:
        paths: of the photos.
        class_names: the name of each class, in the order of the labels.
        max_bytes: of an image file.
    """

    paths: tuple[Path, ...]
    class_names: tuple[str, ...]
    max_bytes: int

    @property
    def digest(self) -> str:
        """Of the photos' names and sizes."""
        return digest(
            p for path in self.paths for p in (path.name, path.stat().st_size)
        )

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Record:
        """Read one photo, as `Records` says."""
        path = self.paths[index]
        label = int(path.stem.rpartition("_")[2])
        return Record(read_file(path, self.max_bytes), label, path.name)

    def name(self, index: int) -> str:
        """Say where a photo lies, for messages."""
        return str(self.paths[index])


def load_photos(root: str, *, max_bytes: int = MAX_BYTES) -> RecordSplits:
    """List the photos; they are too few to be parted and the same to train and test.

    Args:
        root: the folder of the photos, see `photo_folder`.
        max_bytes: of an image file.
    """
    paths = tuple(Path(root, name) for name in PHOTOS.files)
    photos = Photos(paths, class_names(), max_bytes)
    return RecordSplits(train=photos, test=photos)


def photo_folder(fetch: bool = True) -> str:
    """The folder of the photos and the classes' names, which are fetched if need be.

    Args:
        fetch: whether they may be fetched.

    Raises:
        FileNotFoundError: they are not here and cannot be fetched.
    """
    return str(locate(NAMES, PHOTOS, fetch=fetch))
