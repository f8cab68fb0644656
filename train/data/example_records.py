"""Labelled images in files of tf.train.Example messages."""

from dataclasses import dataclass
from typing import Any

from train.data.digest import digest
from train.data.records.base import Record, check_size
from train.data.records.tf_example import parse_example
from train.data.shards import Shards


@dataclass(frozen=True, eq=False)
class ExampleRecords:
    """Records with the features image, label and, where there is one, file_name.

    Attributes:
        shards: the messages.
        class_names: the name of each class, in the order of the labels.
        max_bytes: of an image file.
    """

    shards: Shards
    class_names: tuple[str, ...]
    max_bytes: int

    @property
    def digest(self) -> str:
        """Of the files' index."""
        return digest(self.shards.index_parts())

    def __len__(self) -> int:
        """Number of images."""
        return len(self.shards)

    def __getitem__(self, index: int) -> Record:
        """Read one image, as `Records` says.

        Args:
            index: from 0 to `len` - 1, in the order of the files.

        Returns:
            The image with its label.

        Raises:
            BadImage: this one image is damaged, unreadable or too large.
            IndexError: there is no such image.
            ValueError: the message is whole and not what it should be, or the label
                has no class name.
        """
        message = self.shards.read(index)
        try:
            record = self._record(message, index)
        except ValueError as error:
            raise ValueError(f"{self.name(index)}: {error}") from error
        check_size(len(record.data), self.max_bytes)
        return record

    def name(self, index: int) -> str:
        """Say where an image lies, for messages, however damaged it is.

        Args:
            index: as in `__getitem__`.

        Returns:
            The file of messages and the place there, after the image file's name where
            that can be read.
        """
        place = self.shards.place(index)
        try:
            features = parse_example(self.shards.read(index))
            return f"{_text(_one(features, 'file_name', bytes))} ({place})"
        except (OSError, ValueError):
            return place

    def _record(self, message: bytes, index: int) -> Record:
        features = parse_example(message)
        image, label = _one(features, "image", bytes), _one(features, "label", int)
        if not 0 <= label < len(self.class_names):
            raise ValueError(
                f"labels must lie in 0..{len(self.class_names) - 1}, one for each "
                f"class name: got {label}; is it a split without labels?"
            )
        if "file_name" not in features:
            return Record(image, label, self.shards.place(index))
        return Record(image, label, _text(_one(features, "file_name", bytes)))


def _one(features: dict[str, list], key: str, kind: type) -> Any:
    values = features.get(key, [])
    if len(values) != 1 or not isinstance(values[0], kind):
        raise ValueError(
            f"the feature {key!r} must be one {kind.__name__}: got {len(values)} "
            f"values; this record has the features {', '.join(sorted(features))}"
        )
    return values[0]


def _text(name: bytes) -> str:
    # Whatever the bytes are, a message with them can be printed.
    return name.decode("utf-8", "backslashreplace")
