"""What all formats promise: the same images at the same places, in every process."""

import operator
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from support.imagenet import photos, wnid, write_folder, write_tfds

from train.data.datasets.image_folder import load_image_folder
from train.data.datasets.tfds import load_imagenet
from train.data.images.decode import BadImage
from train.data.records import tfrecord as record_index
from train.data.records.base import RecordSplits

CLASSES, TRAIN, VAL = 4, 30, 9
PHOTOS = {"train": photos(TRAIN, CLASSES), "test": photos(VAL, CLASSES, val=True)}
LOADERS = {
    "array_record": load_imagenet,
    "tfrecord": load_imagenet,
    "folder": load_image_folder,
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """The same images in each format."""
    base = tmp_path_factory.mktemp("copies")
    for name in ("array_record", "tfrecord"):
        write_tfds(base / name, PHOTOS["train"], PHOTOS["test"], file_format=name)
    write_folder(base / "folder", PHOTOS["train"], PHOTOS["test"])
    return {name: base / name for name in LOADERS}


@pytest.fixture(params=LOADERS)
def load(request, roots, tmp_path, monkeypatch):
    """Opens the images in one of the formats."""
    monkeypatch.setattr(record_index, "CACHE", tmp_path)
    return lambda **options: LOADERS[request.param](roots[request.param], **options)


@pytest.fixture(scope="module")
def workers():
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def splits(load) -> RecordSplits:
    return load()


def test_every_image_comes_with_its_label_and_name(splits):
    for part, images in PHOTOS.items():
        records = getattr(splits, part)
        assert len(records) == len(images)
        assert records.class_names == tuple(map(wnid, range(CLASSES)))
        read = [
            (name, records.class_names[label], data) for data, label, name in records
        ]
        assert read == [tuple(photo) for photo in images]


def test_names_say_which_image_and_where(splits):
    for part, images in PHOTOS.items():
        records = getattr(splits, part)
        for index, photo in enumerate(images):
            assert photo.file_name in records.name(index)
            assert "copies" in records.name(index)


def test_worker_processes_read_at_random(splits, workers):
    order = [(7 * i) % TRAIN for i in range(2 * TRAIN)]
    records = [splits.train] * len(order)
    read = list(workers.map(operator.getitem, records, order, chunksize=10))
    assert read == [splits.train[i] for i in order]


def test_an_opened_one_can_be_sent_too(splits):
    before = splits.test[3]
    sent = pickle.dumps(splits.test)
    assert len(sent) < 4000
    assert pickle.loads(sent)[3] == before


def test_a_worker_needs_no_library_of_the_data_sets(splits, tmp_path):
    (tmp_path / "sent").write_bytes(pickle.dumps(splits.train))
    program = (
        "import pickle, sys; records = pickle.load(open(sys.argv[1], 'rb')); records[1]"
        "; print(*{'tensorflow', 'tensorflow_datasets', 'jax'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "sent"],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parents[4],
    )
    assert ran.stdout == "\n"


@pytest.mark.parametrize("index", [-1, VAL])
def test_there_is_nothing_beyond_the_ends(splits, index):
    with pytest.raises(IndexError, match=f"from 0 to {VAL - 1}: got {index}"):
        splits.test[index]
    with pytest.raises(IndexError):
        splits.test.name(index)


def test_only_images_above_the_limit_are_refused(load):
    sizes = [len(photo.data) for photo in PHOTOS["train"]]
    records = load(max_bytes=sorted(sizes)[-2]).train
    largest = sizes.index(max(sizes))
    for index, photo in enumerate(PHOTOS["train"]):
        if index == largest:
            with pytest.raises(BadImage, match=rf"got {max(sizes):,} \(raise max_b"):
                records[index]
            assert photo.file_name in records.name(index)
        else:
            assert records[index].data == photo.data
