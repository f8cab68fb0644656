"""Image files in batches: the same whoever makes them, and none in silence."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.imagenet import photos, write_folder, write_tfds
from support.run import REPO

from train.data.datasets.image_folder import load_image_folder
from train.data.datasets.tfds import load_imagenet
from train.data.examples import Sizes
from train.data.input import DataError, Shard
from train.data.pipeline import RecordInput

TRAIN, VAL = 90, 37
SIZES = Sizes(24, 28, (0.1, 1.0), (0.8, 1.25), True, 1_000_000)


@pytest.fixture(scope="module")
def formats(tmp_path_factory):
    """Format -> the same images."""
    images = photos(TRAIN, seed=1), photos(VAL, seed=1, val=True)
    made = {}
    for name in ("array_record", "tfrecord"):
        write_tfds(tmp_path_factory.mktemp(name) / "data", *images, file_format=name)
        made[name] = load_imagenet(tmp_path_factory.getbasetemp() / f"{name}0/data")
    write_folder(tmp_path_factory.mktemp("folder") / "data", *images)
    made["folder"] = load_image_folder(tmp_path_factory.getbasetemp() / "folder0/data")
    return made


@pytest.fixture
def splits(formats):
    return formats["folder"]


def make(splits, **options):
    sizes = {"batch_size": 16, "eval_batch_size": 12, "seed": 5}
    return RecordInput(splits, SIZES, **(sizes | options))


def assert_same(got, want):
    for one, other in zip(got, want, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def everything(images):
    """Two epochs and a bit of training, and the test set."""
    return [*images.train(0, 12), *images.test()]


@pytest.mark.parametrize("name", ["array_record", "tfrecord"])
def test_the_formats_give_identical_batches(name, formats):
    assert_same(everything(make(formats[name])), everything(make(formats["folder"])))


def test_batches_are_what_they_say(splits):
    images = make(splits)
    batches = list(images.train(0, 5))
    for batch in batches:
        assert {k: (str(v.dtype), v.shape) for k, v in batch.items()} == {
            "image": ("uint8", (16, 24, 24, 3)),
            "label": ("int32", (16,)),
            "index": ("int32", (16,)),
        }
        assert all(
            splits.train[int(i)].label == label
            for i, label in zip(batch["index"], batch["label"], strict=True)
        )
    visited = np.concatenate([batch["index"] for batch in batches])
    assert len(set(visited.tolist())) == 80
    assert (images.train_images, images.test_images) == (TRAIN, VAL)
    assert images.image_shape == (24, 24, 3) and len(images.class_names) == 10


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_makes_the_same(workers, splits):
    got = everything(make(splits, workers=workers, randaugment=2))
    assert_same(got, everything(make(splits, randaugment=2)))


@pytest.mark.parametrize("start", [1, 4, 5, 9])
def test_any_step_can_be_the_first(start, splits):
    whole = list(make(splits).train(0, 12))
    assert_same(make(splits).train(start, 12), whole[start:])


@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_processes_makes_the_same(count, splits):
    parts = [make(splits, shard=Shard(i, count)) for i in range(count)]
    for kind in ("train", "test"):
        runs = [p.train(0, 6) if kind == "train" else p.test() for p in parts]
        shares = list(zip(*runs, strict=True))
        whole = make(splits)
        want = whole.train(0, 6) if kind == "train" else whole.test()
        together = [
            {name: np.concatenate([s[name] for s in share]) for name in share[0]}
            for share in shares
        ]
        assert_same(together, want)


@pytest.mark.parametrize("eval_batch_size", [4, 12, 40])
@pytest.mark.parametrize("count", [1, 4])
def test_every_test_image_is_there_once(count, eval_batch_size, splits):
    parts = [
        list(
            make(splits, shard=Shard(i, count), eval_batch_size=eval_batch_size).test()
        )
        for i in range(count)
    ]
    assert len({len(part) for part in parts}) == 1
    masks = np.concatenate([b["mask"] for part in parts for b in part])
    assert masks.sum() == VAL
    alone = list(make(splits, eval_batch_size=1).test())
    want = sorted(batch["image"].tobytes() for batch in alone)
    batches = (batch for part in parts for batch in part)
    seen = sorted(
        image.tobytes()
        for batch in batches
        for image, mask in zip(batch["image"], batch["mask"], strict=True)
        if mask
    )
    assert seen == want


def crops(splits, seed, steps):
    """Image -> its pixels in an epoch."""
    seen = {}
    for batch in make(splits, batch_size=15, seed=seed).train(*steps):
        for index, image in zip(batch["index"], batch["image"], strict=True):
            seen[int(index)] = image.tobytes()
    return seen


def test_crops_depend_on_seed_epoch_and_image(splits):
    first, second = crops(splits, 5, (0, 6)), crops(splits, 5, (6, 12))
    other = crops(splits, 6, (0, 6))
    assert len(first) == len(second) == TRAIN
    assert sum(first[i] == second[i] for i in first) < TRAIN / 10
    assert sum(first[i] == other[i] for i in first) < TRAIN / 10


def test_crops_do_not_depend_on_the_batch(splits):
    by_fifteen = crops(splits, 5, (0, 6))
    for batch in make(splits, batch_size=9, seed=5).train(0, 10):
        for index, image in zip(batch["index"], batch["image"], strict=True):
            assert by_fifteen[int(index)] == image.tobytes()


def test_randaugment_changes_images_and_nothing_else(splits):
    plain, changed = make(splits), make(splits, randaugment=2)
    for one, other in zip(plain.train(0, 3), changed.train(0, 3), strict=True):
        np.testing.assert_array_equal(one["index"], other["index"])
        assert (one["image"] != other["image"]).any()


def test_test_images_are_cut_like_the_papers(splits):
    images, labels = make(splits).sample(5)
    for i in range(5):
        record = splits.test[i]
        assert labels[i] == record.label
        np.testing.assert_array_equal(images[i], by_pillow(record.data))


def by_pillow(data):
    import io

    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = 28 / min(image.size)
    width, height = (
        28 if side == min(image.size) else int(28 * side / min(image.size))
        for side in image.size
    )
    assert scale < 1
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - 24) / 2), round((height - 24) / 2)
    return np.asarray(resized.crop((left, top, left + 24, top + 24)))


def test_a_file_is_read_as_a_test_image_is(splits, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(splits.test[3].data)
    images, _ = make(splits).sample(4)
    np.testing.assert_array_equal(make(splits).read(path), images[3])


def test_workers_without_room_to_hand_over_are_refused_at_once(splits):
    make(splits, workers=0, prefetch=10**12)
    with pytest.raises(ValueError, match="shared memory"):
        make(splits, workers=1, prefetch=10**12)


def test_a_file_that_is_none_or_too_large(splits, tmp_path):
    text, missing = tmp_path / "text.png", tmp_path / "missing.png"
    text.write_text("no image")
    for path in (text, missing):
        with pytest.raises(ValueError, match=f"must be image files: {path}"):
            make(splits).read(path)
    large = tmp_path / "large.jpg"
    large.write_bytes(splits.test[3].data)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        make(splits, max_bytes=100).read(large)


@pytest.fixture
def spoiled(tmp_path):
    """A folder in which training images 4 and 5 and test image 2 are bad."""
    train, val = photos(TRAIN, seed=1), photos(VAL, seed=1, val=True)
    train[4] = train[4]._replace(data=b"")
    train[5] = train[5]._replace(data=b"<html>not found</html>")
    val[2] = val[2]._replace(data=val[2].data[:200])
    write_folder(tmp_path, train, val)
    return load_image_folder(tmp_path), (train[4], train[5], val[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_an_error_with_its_name(workers, spoiled):
    splits, bad = spoiled
    images = make(splits, workers=workers)
    with pytest.raises(
        DataError, match=rf"({bad[0].file_name}|{bad[1].file_name}) can"
    ):
        list(images.train(0, 5))
    with pytest.raises(DataError, match=f"{bad[2].file_name} cannot be decoded"):
        list(images.test())


def test_skipped_images_are_replaced_counted_and_named(spoiled, caplog):
    splits, bad = spoiled
    images = make(splits, skip_bad=True, batch_size=TRAIN)
    with caplog.at_level(logging.WARNING, "train"):
        (batch,) = images.train(0, 1)
    # Image 6 takes the place of both: 5 is bad itself, and again on its own place.
    assert images.skipped == 3
    said = [record.getMessage() for record in caplog.records]
    assert sum(bad[0].file_name in line for line in said) == 1
    assert sum(bad[1].file_name in line for line in said) == 2
    assert any("a web page" in line for line in said)
    assert sorted(batch["index"].tolist()) == list(range(TRAIN))
    for row in np.flatnonzero(np.isin(batch["index"], (4, 5))):
        assert batch["label"][row] == splits.train[6].label
        assert batch["image"][row].std() > 1


def test_skipped_test_images_are_masked_counted_and_named(spoiled, caplog):
    splits, bad = spoiled
    images = make(splits, skip_bad=True)
    with caplog.at_level(logging.WARNING, "train"):
        masks = np.concatenate([batch["mask"] for batch in images.test()])
    assert masks[2] == 0 and masks.sum() == VAL - 1
    assert images.skipped == 1 and bad[2].file_name in caplog.text


def test_a_set_of_bad_images_is_an_error_even_if_they_may_be_skipped(tmp_path):
    bad = [photo._replace(data=b"") for photo in photos(120)]
    write_folder(tmp_path, bad, photos(10, val=True))
    with pytest.raises(DataError, match="100 images in a row cannot be decoded"):
        list(make(load_image_folder(tmp_path), skip_bad=True).train(0, 1))


GROWTH = """
import os, sys
from pathlib import Path
from train.data.datasets.image_folder import load_image_folder
from train.data.pipeline import RecordInput
from train.data.examples import Sizes

def memory(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))

def children():
    return Path(f"/proc/{os.getpid()}/task").glob("*/children")

def total():
    pids = {pid for path in children() for pid in path.read_text().split()}
    return sum(memory(pid) for pid in {*pids, str(os.getpid())})

if __name__ == "__main__":
    splits = load_image_folder(sys.argv[1])
    sizes = Sizes(24, 28, (0.1, 1.0), (0.8, 1.25), True, 1_000_000)
    images = RecordInput(splits, sizes, batch_size=50, eval_batch_size=50, workers=2)
    for step, batch in enumerate(images.train(0, 2000)):
        if step in (200, 1999):
            print(total(), flush=True)
"""


def test_memory_does_not_grow_over_100_000_images(tmp_path):
    write_folder(tmp_path / "data", photos(200), photos(10, val=True))
    program = tmp_path / "growth.py"
    program.write_text(GROWTH)
    done = subprocess.run(
        [sys.executable, program, tmp_path / "data"],
        env=os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    early, late = map(int, done.stdout.split())
    assert late < 1.05 * early
