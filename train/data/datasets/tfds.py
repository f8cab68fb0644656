"""ImageNet (ILSVRC 2012) and its like, as tensorflow-datasets prepared them.

Russakovsky et al. 2015, arXiv:1409.0575. Neither TensorFlow nor, in the processes that
read, tensorflow-datasets is needed; the README says how to prepare the files once.
"""

import importlib
import re
from pathlib import Path
from typing import Any

from train.data.records.array_record import open_array_records
from train.data.records.base import MAX_BYTES, Records, RecordSplits, shorten
from train.data.records.tf_example import ExampleRecords
from train.data.records.tfrecord import open_tfrecords

FORMATS = {"array_record": open_array_records, "tfrecord": open_tfrecords}
_INFO = "dataset_info.json"


def load_imagenet(root: str | Path, *, max_bytes: int = MAX_BYTES) -> RecordSplits:
    """Open `imagenet2012`: 1,281,167 train and 50,000 validation images.

    Args:
        root: as in `load_tfds`.
        max_bytes: of an image file.

    Returns:
        Train and, as test, validation images.

    Raises:
        FileNotFoundError: see `load_tfds`.
        ValueError: see `load_tfds`.
    """
    return load_tfds(root, "imagenet2012", max_bytes=max_bytes)


def load_tfds(
    root: str | Path,
    name: str,
    *,
    test_split: str = "validation",
    max_bytes: int = MAX_BYTES,
) -> RecordSplits:
    """Open a classification data set that tensorflow-datasets prepared.

    Args:
        root: the folder given as data_dir to tensorflow-datasets, in which the newest
            version is taken; or the folder of a version.
        name: of the data set there; it has the features image and label.
        test_split: what it calls the images to measure the result on.
        max_bytes: of an image file; the data themselves may not be trusted.

    Returns:
        Train and test images, in the order of the files.

    Raises:
        FileNotFoundError: the data set or some of its files are not there.
        ValueError: it is another data set, in a format that cannot be read, or one of
            its files does not hold what it should.
    """
    folder = find_version(Path(root), name)
    info = _read_info(folder, name)
    class_names = _class_names(info, folder)

    def split(part: str) -> Records:
        paths, counts = _files(info, folder, part)
        shards = FORMATS[info.file_format.value](paths, counts, max_bytes)
        return ExampleRecords(shards, class_names, max_bytes)

    return RecordSplits(train=split("train"), test=split(test_split))


def find_version(root: Path, name: str) -> Path:
    """Find the folder of the newest version of a data set.

    Args:
        root: as in `load_tfds`.
        name: of the data set.

    Returns:
        The folder with dataset_info.json.

    Raises:
        FileNotFoundError: there is none.
    """
    if (root / _INFO).is_file():
        return root
    for parent in (root / name, root):
        found = {
            tuple(map(int, path.parent.name.split("."))): path.parent
            for path in parent.glob(f"*/{_INFO}")
            if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)
        }
        if found:
            return found[max(found)]
    raise FileNotFoundError(
        f"{name}, once prepared by tensorflow-datasets, has a {_INFO}: it is neither "
        f"{root / _INFO} nor {root / name}/VERSION/{_INFO} nor {root}/VERSION/{_INFO}; "
        "correct the folder, or prepare the data as the README says (images in folders "
        "by class are the source image_folder)"
    )


def _read_info(folder: Path, name: str) -> Any:
    try:
        # Half a second that only the main process of a run on such data spends.
        tfds = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ImportError(
            f"{error}: pip install tensorflow-datasets importlib_resources"
        ) from error
    try:
        info = tfds.builder_from_directory(folder).info
    # It hands on the errors of its parsers of JSON, messages and features.
    except Exception as error:
        raise ValueError(
            f"{folder}: tensorflow-datasets cannot read {_INFO} and features.json: "
            f"{error}; copy them again"
        ) from error
    if info.name != name.split("/")[0]:
        raise ValueError(f"{folder} must hold {name}: it holds {info.name}")
    if info.file_format.value not in FORMATS:
        raise ValueError(
            f"{folder}: files can be {' or '.join(FORMATS)}, got "
            f"{info.file_format.value}; prepare them with --file_format array_record"
        )
    return info


def _class_names(info: Any, folder: Path) -> tuple[str, ...]:
    kinds = {key: type(feature).__name__ for key, feature in info.features.items()}
    if (kinds.get("image"), kinds.get("label")) != ("Image", "ClassLabel"):
        raise ValueError(
            f"{folder} must have the features image (Image) and label (ClassLabel): "
            f"got {', '.join(f'{key} ({kinds[key]})' for key in sorted(kinds))}"
        )
    return tuple(info.features["label"].names)


def _files(info: Any, folder: Path, split: str) -> tuple[list[str], list[int]]:
    if split not in info.splits:
        raise ValueError(
            f"{folder} must have the split {split!r}: it has {', '.join(info.splits)}; "
            "prepare it with all of its archives"
        )
    # Names alone: no description leads out of its folder.
    names = [Path(name).name for name in info.splits[split].filenames]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: {len(missing)} of the {len(names)} files of {split!r} are "
            f"missing: {shorten(missing)}; copy them too, or prepare the data again"
        )
    counts = [int(count) for count in info.splits[split].shard_lengths]
    return [str(folder / name) for name in names], counts
