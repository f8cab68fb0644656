"""A small ImageNet in three formats, made from one list of images.

Every writer puts the images in the order of (wnid, file name), so that the record at an
index is the same in all formats: tensorflow-datasets is told not to shuffle.
"""

import contextlib
import functools
import io
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import google_crc32c
import numpy as np
from PIL import Image

VERSION = "5.1.0"


class Photo(NamedTuple):
    file_name: str
    wnid: str
    data: bytes


def wnid(label: int) -> str:
    return f"n{1440764 + 1000 * label:08d}"


def photos(count: int, classes: int = 10, seed: int = 0, *, val: bool = False):
    """JPEG files of 40 to 80 pixels a side, in the order of (wnid, file name).

    A class is a colour and a direction of stripes; place, brightness and noise differ.
    Training images are named after their class, validation images by their number.
    """
    random = np.random.default_rng([seed, val])
    made = []
    for index in range(count):
        label = index % classes
        data = jpeg(_pixels(random, label, classes))
        name = f"{wnid(label)}_{index}.JPEG"
        if val:
            name = f"ILSVRC2012_val_{index + 1:08d}.JPEG"
        made.append(Photo(name, wnid(label), data))
    return in_order(made)


def in_order(images: Iterable[Photo]) -> list[Photo]:
    return sorted(images, key=lambda photo: (photo.wnid, photo.file_name))


def jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _pixels(random: np.random.Generator, label: int, classes: int) -> np.ndarray:
    height, width = random.integers(40, 81, 2)
    y, x = np.mgrid[:height, :width]
    turn = 2 * np.pi * label / classes
    colour = 128 + 80 * np.cos(turn + np.array([0, 2, 4]) * np.pi / 3)
    wave = np.cos(turn / 2) * x + np.sin(turn / 2) * y
    stripes = 40 * np.sin(wave / 4 + random.uniform(0, 2 * np.pi))
    light = random.uniform(-20, 20) + random.normal(0, 8, (height, width))
    pixels = colour + (stripes + light)[..., None]
    return pixels.clip(0, 255).astype(np.uint8)


def write_folder(
    root: Path, train: Sequence[Photo], val: Sequence[Photo], test_folder: str = "val"
) -> Path:
    """root/train/WNID/NAME and root/val/WNID/NAME; returns `root`."""
    for part, images in (("train", train), (test_folder, val)):
        for photo in images:
            folder = root / part / photo.wnid
            folder.mkdir(parents=True, exist_ok=True)
            (folder / photo.file_name).write_bytes(photo.data)
    return root


def write_tfds(
    root: Path,
    train: Sequence[Photo],
    val: Sequence[Photo],
    *,
    file_format: str = "array_record",
    shards: int = 3,
    features: Sequence[str] = ("image", "label", "file_name"),
) -> Path:
    """root/imagenet2012/5.1.0 as tensorflow-datasets writes it; returns that folder.

    ArrayRecord files and all descriptions are the library's own. TFRecord files, which
    it cannot write without TensorFlow, are written here.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    # It would look for the real one's description on the network, and leaves a folder
    # in the system's temporary one.
    with mock.patch.object(tfds.core.DatasetInfo, "initialize_from_bucket"):
        builder = _builder_class()(
            {"train": in_order(train), "validation": in_order(val)},
            tuple(features),
            data_dir=root,
            file_format="array_record",
        )
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(num_shards=shards)
        )
    folder = Path(builder.data_dir)
    if file_format == "tfrecord":
        _to_tfrecord(folder, builder.info.splits)
    return folder


@functools.cache
def _builder_class() -> type:
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class Imagenet2012(tfds.core.GeneratorBasedBuilder):
            """The real one's name, version, features and splits."""

            VERSION = tfds.core.Version(VERSION)

            def __init__(self, images, features, **kwargs):
                self._images, self._wanted = images, features
                super().__init__(**kwargs)

            def _info(self):
                names = sorted({photo.wnid for photo in self._images["train"]})
                features = {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=names),
                    "file_name": tfds.features.Text(),
                }
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(
                        {key: features[key] for key in self._wanted}
                    ),
                    disable_shuffling=True,
                )

            def _split_generators(self, dl_manager):
                return {split: self._generate_examples(split) for split in self._images}

            def _generate_examples(self, split):
                for key, photo in enumerate(self._images[split]):
                    values = {
                        "image": io.BytesIO(photo.data),
                        "label": photo.wnid,
                        "file_name": photo.file_name,
                    }
                    yield key, {name: values[name] for name in self._wanted}

    return Imagenet2012


def _to_tfrecord(folder: Path, splits) -> None:
    from array_record.python.array_record_module import ArrayRecordReader

    for split in splits.values():
        for name in split.filenames:
            reader = ArrayRecordReader(str(folder / name))
            records = reader.read_all()
            reader.close()
            target = folder / name.replace("array_record", "tfrecord")
            target.write_bytes(b"".join(map(tfrecord_frame, records)))
            (folder / name).unlink()
    edit_info(folder, lambda info: info.update(fileFormat="tfrecord"))


def edit_info(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def tfrecord_frame(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + _masked(head) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    rotated = (crc >> 15) | (crc << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) % 2**32)


def encode_example(features: dict[str, list], *, packed: bool = True) -> bytes:
    """A tf.train.Example; the type of a feature's first value decides its kind."""
    entries = (
        field(1, field(1, key.encode()) + field(2, _feature(values, packed)))
        for key, values in features.items()
    )
    return field(1, b"".join(entries))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _feature(values: list, packed: bool) -> bytes:
    if not values:
        return b""
    if isinstance(values[0], bytes):
        return field(1, b"".join(field(1, value) for value in values))
    floats = isinstance(values[0], float)
    encode = functools.partial(struct.pack, "<f") if floats else varint
    numbers = [encode(value) for value in values]
    key = varint(1 << 3 | (5 if floats else 0))
    content = (
        field(1, b"".join(numbers))
        if packed
        else b"".join(key + number for number in numbers)
    )
    return field(2 if floats else 3, content)
