"""Image folders: the order, what counts as an image, and trees that are not whole."""

import os
import shutil
import tracemalloc
from pathlib import Path

import pytest
from support.imagenet import Photo, write_folder

from train.data.datasets.image_folder import load_image_folder
from train.data.images.decode import BadImage

IMAGES = [
    Photo(name, wnid, f"{wnid}/{name}".encode())
    for wnid in ("n01", "n02")
    for name in ("a.JPEG", "b.JPEG")
]


@pytest.fixture
def root(tmp_path) -> Path:
    return write_folder(tmp_path / "root", IMAGES, IMAGES)


def names(records) -> list[str]:
    return [record.name for record in records]


def test_images_of_all_suffixes_in_the_order_of_their_bytes(root):
    folder = root / "train" / "n01"
    for name in ("Z.jpg", "c.PNG", "é.WebP", "d.bmp", "10.jpeg", "9.Jpeg"):
        (folder / name).write_bytes(b"")
    ordered = ["10.jpeg", "9.Jpeg", "Z.jpg", "a.JPEG", "b.JPEG", "c.PNG", "d.bmp"]
    train = load_image_folder(root).train
    assert names(train) == [*ordered, "é.WebP", "a.JPEG", "b.JPEG"]
    assert [record.label for record in train] == [0] * 8 + [1] * 2


def test_what_is_no_image_is_told_in_one_line(root, caplog):
    folder = root / "val" / "n02"
    for name in (".DS_Store", "._a.JPEG", "list.txt", "b.JPEG.part", "noise"):
        (folder / name).write_bytes(b"")
    (folder / "inner.jpg").mkdir()
    (folder / "lost.jpg").symlink_to("nowhere")
    (root / "val" / "README").write_bytes(b"")
    assert names(load_image_folder(root).test) == ["a.JPEG", "b.JPEG"] * 2
    (line,) = caplog.messages
    assert line == (
        f"{root}/val: 5 not used: n02/b.JPEG.part, n02/inner.jpg, n02/list.txt, "
        "n02/lost.jpg, n02/noise"
    )


def test_folders_left_out_for_their_dot_are_named(root, caplog):
    for name in (".hidden", ".ipynb_checkpoints"):
        (root / "train" / name).mkdir()
    (root / "train" / ".DS_Store").write_bytes(b"")
    assert load_image_folder(root).train.class_names == ("n01", "n02")
    assert caplog.messages == [
        f"{root}/train: folders left out for their leading dot: .hidden, "
        ".ipynb_checkpoints"
    ]


def test_links_are_followed(root, tmp_path):
    shutil.move(root / "train" / "n02", tmp_path / "elsewhere")
    (root / "train" / "n02").symlink_to(tmp_path / "elsewhere")
    (root / "train" / "n02" / "c.jpg").symlink_to(root / "val" / "n01" / "a.JPEG")
    train = load_image_folder(root).train
    assert train[4].data == b"n01/a.JPEG" and train[4].label == 1


def test_the_other_usual_name_of_the_second_part(root):
    (root / "val").rename(root / "validation")
    assert len(load_image_folder(str(root)).test) == 4
    (root / "val").mkdir()
    with pytest.raises(FileNotFoundError, match=r"one of val and validation.*got tra"):
        load_image_folder(root)


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_missing_part(root, part):
    shutil.rmtree(root / part)
    with pytest.raises(FileNotFoundError, match=r"must have the folder train .*README"):
        load_image_folder(root)


def test_a_missing_root(tmp_path):
    with pytest.raises(FileNotFoundError, match="got no such folder"):
        load_image_folder(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="got an empty folder"):
        load_image_folder(tmp_path)


def test_validation_images_as_the_archive_has_them(root):
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    for number in range(1, 9):
        (root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG").touch()
    with pytest.raises(ValueError, match="move each validation image") as caught:
        load_image_folder(root)
    assert "ILSVRC2012_val_00000001.JPEG" in str(caught.value)
    assert "and 3 more" in str(caught.value)


def test_train_archives_not_yet_unpacked(root):
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    (root / "train" / "n01440764.tar").touch()
    with pytest.raises(ValueError, match=r"got n01440764.tar; unpack each class"):
        load_image_folder(root)


def test_different_classes_are_told_in_one_error(root):
    (root / "val" / "n02").rename(root / "val" / "n03")
    with pytest.raises(ValueError, match="it lacks n02 and has besides n03"):
        load_image_folder(root)
    (root / "val" / "n03").rename(root / "n03")
    with pytest.raises(ValueError, match="it lacks n02 and has besides none"):
        load_image_folder(root)


def test_a_class_without_images(root):
    (root / "train" / "n02" / "a.JPEG").unlink()
    (root / "train" / "n02" / "b.JPEG").rename(root / "train" / "n02" / "b.txt")
    with pytest.raises(ValueError, match=r"must hold images .*1 hold none: n02"):
        load_image_folder(root)


def test_a_file_too_large_is_refused_before_it_is_read(root):
    train = load_image_folder(root).train
    os.truncate(root / "train" / "n01" / "b.JPEG", 1 << 30)
    tracemalloc.start()
    with pytest.raises(BadImage, match="may take 67,108,864 bytes, got 1,073,741,824"):
        train[1]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_an_image_that_cannot_be_read_is_bad_and_has_a_name(root):
    train = load_image_folder(root).train
    (root / "train" / "n01" / "a.JPEG").unlink()
    with pytest.raises(BadImage, match="cannot be read: No such file"):
        train[0]
    assert train.name(0) == f"{root}/train/n01/a.JPEG"
    assert train[1].data == b"n01/b.JPEG"


def test_a_name_that_is_no_text_can_be_read_and_printed(root):
    path = os.fsencode(root / "train" / "n01") + b"/\xff\n.jpg"
    try:
        Path(os.fsdecode(path)).write_bytes(b"odd")
    except OSError:
        pytest.skip("this file system takes text names alone")
    train = load_image_folder(root).train
    assert train[2].data == b"odd"
    assert train[2].name == "\\xff\n.jpg"
    train.name(2).encode()
