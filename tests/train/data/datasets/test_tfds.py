"""Data sets of tensorflow-datasets: found, checked when opened, damaged ones named."""

import functools
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from support.imagenet import (
    edit_info,
    encode_example,
    photos,
    tfrecord_frame,
    wnid,
    write_tfds,
)

from train.data.datasets.tfds import find_version, load_imagenet, load_tfds
from train.data.images.decode import BadImage
from train.data.records import array_record
from train.data.records import tfrecord as record_index
from train.data.records.array_record import open_array_records

FORMATS = ("array_record", "tfrecord")
TRAIN, VAL = photos(12, 3), photos(6, 3, val=True)


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("originals")
    for file_format in FORMATS:
        write_tfds(base / file_format, TRAIN, VAL, file_format=file_format)
    return base


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(record_index, "CACHE", tmp_path / "cache")


@pytest.fixture(params=FORMATS)
def folder(request, originals, tmp_path) -> Path:
    """Of the version, in a copy of its own."""
    shutil.copytree(originals / request.param, tmp_path / "root")
    return tmp_path / "root" / "imagenet2012" / "5.1.0"


@pytest.fixture
def array_folder(originals, tmp_path) -> Path:
    shutil.copytree(originals / "array_record", tmp_path / "root")
    return tmp_path / "root" / "imagenet2012" / "5.1.0"


def shards(folder: Path, split: str = "train") -> list[Path]:
    return sorted(folder.glob(f"imagenet2012-{split}.*"))


def refused(root: Path, kind: type[Exception] = ValueError, **options) -> str:
    with pytest.raises(kind) as caught:
        load_imagenet(root, **options)
    return str(caught.value)


def test_the_librarys_own_reader_gives_the_same(array_folder):
    builder = tfds.builder_from_directory(array_folder)
    skip = {"image": tfds.decode.SkipDecoding()}
    splits = load_imagenet(array_folder)
    for records, split in zip(splits, ("train", "validation"), strict=True):
        source = builder.as_data_source(split, decoders=skip)
        assert len(source) == len(records)
        for got, wanted in zip(records, source, strict=True):
            assert got.data == wanted["image"]
            assert got.label == wanted["label"]
            assert got.name.encode() == wanted["file_name"]


def test_all_folders_a_user_may_name(folder):
    for root in (folder, folder.parent, folder.parents[1], str(folder)):
        assert load_imagenet(root).train[3].name == TRAIN[3].file_name


def test_the_newest_version_is_taken(tmp_path):
    for version in ("2.0.0", "10.0.0", "9.9.9", "incomplete.ABC_11.0.0"):
        (tmp_path / "some" / version).mkdir(parents=True)
        (tmp_path / "some" / version / "dataset_info.json").touch()
    (tmp_path / "some" / "12.0.0").mkdir()
    assert find_version(tmp_path, "some") == tmp_path / "some" / "10.0.0"


def test_a_wrong_folder_is_told_where_was_looked(tmp_path):
    message = refused(tmp_path, FileNotFoundError)
    for place in ("dataset_info.json", "imagenet2012/VERSION", "VERSION"):
        assert f"{tmp_path}/{place}" in message
    assert "README" in message


def test_another_data_set(folder):
    edit_info(folder, lambda info: info.update(name="imagenette"))
    assert "must hold imagenet2012: it holds imagenette" in refused(folder)


def test_a_format_of_no_random_access(folder):
    edit_info(folder, lambda info: info.update(fileFormat="riegeli"))
    assert "got riegeli; prepare them with --file_format" in refused(folder)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_damaged_description(folder, name):
    content = (folder / name).read_text()
    (folder / name).write_text(content[: len(content) // 2])
    message = refused(folder)
    assert str(folder) in message and "copy them again" in message


def test_features_of_another_kind_of_data_set(folder):
    path = folder / "features.json"
    features = json.loads(path.read_text())
    features["featuresDict"]["features"].pop("label")
    path.write_text(json.dumps(features))
    assert "got file_name (Text), image (Image)" in refused(folder)


def test_a_split_that_was_not_prepared(folder):
    edit_info(folder, lambda info: info["splits"].pop())
    assert "must have the split 'validation': it has train;" in refused(folder)
    train, test = load_tfds(folder, "imagenet2012", test_split="train")
    assert len(train) == len(test) == len(TRAIN)


def test_missing_files_are_listed(folder):
    first, _, last = shards(folder)
    first.unlink()
    last.unlink()
    message = refused(folder, FileNotFoundError)
    assert "2 of the 3 files of 'train' are missing" in message
    assert first.name in message and last.name in message


def test_a_description_does_not_lead_out_of_its_folder(folder, tmp_path):
    for path in shards(folder):
        shutil.copy2(path, tmp_path)
        path.unlink()
    template = f"{tmp_path}/{{DATASET}}-{{SPLIT}}.{{FILEFORMAT}}-{{SHARD_X_OF_Y}}"
    edit_info(folder, lambda info: info["splits"][0].update(filepathTemplate=template))
    with pytest.raises((FileNotFoundError, ValueError)):
        load_imagenet(folder)


def test_other_numbers_of_records_than_described(folder):
    def change(info):
        info["splits"][0]["shardLengths"][1] = "5"

    edit_info(folder, change)
    message = refused(folder)
    assert f"{shards(folder)[1]}: 4 instead of 5" in message


@pytest.mark.parametrize("keep", [0, 0.3, 0.5, 0.9])
def test_a_file_that_was_cut(folder, keep):
    path = shards(folder)[2]
    os.truncate(path, int(keep * path.stat().st_size))
    assert str(path) in refused(folder)


def test_a_file_of_something_else(folder):
    path = shards(folder)[0]
    path.write_bytes(b"no records" * 100_000)
    assert str(path) in refused(folder)


def test_a_flipped_byte_of_an_image_is_bad_and_has_a_name(folder):
    splits = load_imagenet(folder)
    photo, path = TRAIN[5], shards(folder)[1]
    content = bytearray(path.read_bytes())
    content[content.index(photo.data[-100:]) + 50] ^= 1
    stat = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(BadImage, match=r"checksum|hash mismatch"):
        splits.train[5]
    assert splits.train.name(5) == f"record 1 of {path}"
    rest = [splits.train[i].data for i in range(len(TRAIN)) if i != 5]
    assert rest == [other.data for other in TRAIN if other != photo]


def write_records(folder: Path, *messages: bytes):
    """In place of the first training file; opens what is there then."""
    shards(folder)[0].write_bytes(b"".join(map(tfrecord_frame, messages)))

    def change(info):
        info["splits"][0]["shardLengths"][0] = str(len(messages))

    edit_info(folder, change)
    return load_imagenet(folder).train


@pytest.mark.parametrize("folder", ["tfrecord"], indirect=True)
@pytest.mark.parametrize("label", [-1, 3, 2**62])
def test_a_label_without_a_class_is_no_bad_image(folder, label):
    values = {"image": [b"jpeg"], "label": [label], "file_name": [b"odd.JPEG"]}
    train = write_records(folder, encode_example(values))
    with pytest.raises(ValueError, match=rf"odd.JPEG .*in 0..2.*got {label}") as caught:
        train[0]
    assert not isinstance(caught.value, BadImage)


@pytest.mark.parametrize("folder", ["tfrecord"], indirect=True)
@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (b"\xff", "record 0 of .*must be a tf.train.Example"),
        (b"", "'image' must be one bytes: got 0 values"),
        (encode_example({"image": [1], "label": [1]}), "'image' must be one bytes"),
        (encode_example({"image": [b""]}), "'label' must be one int.*features image"),
        (encode_example({"image": [b""], "label": [0, 1]}), "one int: got 2 values"),
        (
            encode_example({"image": [b""], "label": [0], "file_name": [7]}),
            "'file_name' must be one bytes",
        ),
    ],
)
def test_messages_that_are_whole_and_wrong(folder, message, rule):
    train = write_records(folder, message)
    with pytest.raises(ValueError, match=rule) as caught:
        train[0]
    assert not isinstance(caught.value, BadImage)
    assert train.name(0) == f"record 0 of {shards(folder)[0]}"


@pytest.mark.parametrize("folder", ["tfrecord"], indirect=True)
def test_names_that_are_no_text_can_be_printed(folder):
    values = {"image": [b""], "label": [0], "file_name": [b"\xff.JPEG"]}
    train = write_records(folder, encode_example(values))
    assert train[0].name == "\\xff.JPEG"


def test_a_data_set_without_file_names(tmp_path):
    folder = write_tfds(tmp_path, TRAIN, VAL, features=("image", "label"))
    train = load_imagenet(folder).train
    assert train.class_names == tuple(map(wnid, range(3)))
    assert train[5].data == TRAIN[5].data
    assert train[5].name == train.name(5) == f"record 1 of {shards(folder)[1]}"


def test_many_array_record_files_share_few_open_ones(tmp_path, monkeypatch):
    write_tfds(tmp_path, photos(40, 2), photos(20, 2, val=True), shards=20)
    few = functools.lru_cache(maxsize=2)(array_record._open.__wrapped__)
    monkeypatch.setattr(array_record, "_open", few)
    train = load_imagenet(tmp_path).train
    labels = [train[i].label for i in range(40)]
    before = len(os.listdir("/dev/fd"))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: train[7 * i % 40].label, range(2000)))
    assert read == [labels[7 * i % 40] for i in range(2000)]
    assert len(os.listdir("/dev/fd")) <= before + 2


def test_a_record_too_large_for_any_image(tmp_path):
    path = str(tmp_path / "large")
    writer = ArrayRecordWriter(path, "group_size:1")
    for size in (66_000, 65_536):
        writer.write(bytes(size))
    writer.close()
    records = open_array_records([path], [2], max_bytes=10)
    with pytest.raises(BadImage, match=r"may take 10 bytes, got a record of 66,000"):
        records.read(0)
    assert len(records.read(1)) == 65_536
