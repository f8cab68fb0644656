"""What a run was trained on: its classes and its lists of images, in data.json.

The numbers of the logits mean classes only together with this list. So it is kept, and
every command that uses the run takes its names from here, whatever a folder holds now.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from prm_flax.errors import unknown
from prm_flax.printable import printable
from prm_flax.runs import DATA
from train.data.input import Input
from train.data.records.base import shorten
from train.distributed import same_everywhere, say
from train.workdir.files import write_whole
from train.workdir.lock import WorkdirError


class ImageList(NamedTuple):
    """One of the two parts of a set.

    Attributes:
        images: how many there are.
        digest: of the list.
    """

    images: int
    digest: str


class RunData(NamedTuple):
    """What a run was trained on.

    Attributes:
        class_names: in the order of the logits.
        image_shape: (h, w, c) of what the network gets.
        train: the training images.
        test: the test images.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    train: ImageList
    test: ImageList


def data_of(images: Input) -> RunData:
    """What there is to train on now, the same for all processes of a run.

    Raises:
        ValueError: the processes find different images.
    """
    train, test = images.digests
    data = RunData(
        images.class_names,
        images.image_shape,
        ImageList(images.train_images, train),
        ImageList(images.test_images, test),
    )
    if not same_everywhere(ascii(data)):
        raise ValueError(
            f"all processes of a run must find the same images, one finds others: here "
            f"are {data.train.images:,} to train on and {data.test.images:,} to test "
            f"on, of {len(data.class_names)} classes. Does data.root lead to the same "
            "files on every machine?"
        )
    return data


def read_data(workdir: epath.Path) -> RunData | None:
    """What the folder's run was trained on; None if it does not say.

    Raises:
        WorkdirError: the file is damaged.
    """
    path = workdir / DATA
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        height, width, channels = map(int, found["image_shape"])
        return RunData(
            tuple(str(name) for name in found["class_names"]),
            (height, width, channels),
            _image_list(found["train"]),
            _image_list(found["test"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise WorkdirError(
            f"{path} must say what the run was trained on, it is damaged: {error!r}. "
            "Copy it there from where it is whole."
        ) from error


def _image_list(found: dict) -> ImageList:
    return ImageList(int(found["images"]), str(found["digest"]))


def check_data(workdir: epath.Path, now: RunData) -> None:
    """Compares what there is now with what the folder's run began with.

    Raises:
        WorkdirError: the run began with other classes or other lists of images.
    """
    before = read_data(workdir)
    if before is None:
        say(old_run(workdir, now.class_names))
    else:
        _require_same(workdir, before, now)


def write_data(workdir: epath.Path, now: RunData) -> None:
    """Writes down what a run is trained on."""
    # Names with bytes that are no text are escaped, and come back as they were.
    parts = now._replace(train=now.train._asdict(), test=now.test._asdict())  # pyright: ignore[reportArgumentType]
    write_whole(workdir / DATA, (json.dumps(parts._asdict(), indent=1) + "\n").encode())


def old_run(workdir: epath.Path, class_names: Sequence[str]) -> str:
    """The sentence on a run that does not say what its classes are."""
    return (
        f"{workdir} was made before runs kept their classes: taken from the data as "
        f"they are now, {len(class_names)} classes: {_shown(class_names)}."
    )


def _require_same(workdir: epath.Path, before: RunData, now: RunData) -> None:
    lines = _classes_differ(before.class_names, now.class_names)
    lines += _counts_differ(before, now)
    # Where the classes or the counts are others, the lists are, too.
    lines = lines or _lists_differ(before, now)
    if before.image_shape != now.image_shape:
        lines.append(f"image shape: was {before.image_shape}, is {now.image_shape}")
    if lines:
        raise WorkdirError(
            f"{workdir} holds a run of other data:\n  "
            + "\n  ".join(lines)
            + "\nA run goes on with the data that it began with. Put them back, or "
            "train on these with another --workdir."
        )


def _classes_differ(before: Sequence[str], now: Sequence[str]) -> list[str]:
    gone = [name for name in before if name not in set(now)]
    new = [name for name in now if name not in set(before)]
    if gone or new:
        return [f"classes: {_shown(gone) or 'none'} gone, {_shown(new) or 'none'} new"]
    return [] if tuple(before) == tuple(now) else ["classes: the same in another order"]


def _counts_differ(before: RunData, now: RunData) -> list[str]:
    return [
        f"{part} images: were {old.images:,}, are {new.images:,}"
        for part, old, new in _parts(before, now)
        if old.images != new.images
    ]


def _lists_differ(before: RunData, now: RunData) -> list[str]:
    return [
        f"{part} images: {new.images:,} as before, but other files, or of other sizes"
        for part, old, new in _parts(before, now)
        if old.digest != new.digest
    ]


def _shown(names: Sequence[str]) -> str:
    return shorten([printable(name) for name in names])


def _parts(
    before: RunData, now: RunData
) -> tuple[tuple[str, ImageList, ImageList], ...]:
    return ("train", before.train, now.train), ("test", before.test, now.test)


def labels_by_name(trained: Sequence[str], found: Sequence[str]) -> np.ndarray:
    """The logit of each class of a set, by its name.

    Args:
        trained: the classes in the order of the logits.
        found: those of the set.

    Returns:
        int32 (classes of the set,).

    Raises:
        ValueError: the network has none of this name.
    """
    places = {name: place for place, name in enumerate(trained)}
    for name in found:
        if name not in places:
            raise unknown("class for the network of this run", name, trained)
    return np.array([places[name] for name in found], np.int32)
