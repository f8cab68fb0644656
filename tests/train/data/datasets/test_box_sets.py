"""Three formats of the same images are the same batches; what is wrong is said."""

import functools
import json

import numpy as np
import pytest
from PIL import Image
from support.box_sets import BOXES, CLASSES, write_coco, write_voc, write_yolo

from train.data.boxes.files import Limits, looks_like
from train.data.boxes.input import BoxInput, places_for
from train.data.datasets.coco import load_coco
from train.data.datasets.voc import load_voc
from train.data.datasets.yolo import load_yolo
from train.data.input import DataError, Shard

LIMITS = Limits()
JSONS = ("train.json", "train"), ("val.json", "val")


def coco(root, skip=False):
    return load_coco(root, *JSONS, LIMITS, skip)


FORMATS = {
    "coco": (write_coco, coco),
    "voc": (write_voc, lambda root: load_voc(root, "train", "val", LIMITS)),
    "yolo": (write_yolo, lambda root: load_yolo(root, "train", "val", LIMITS)),
}


def opened(splits, **options):
    given = {"limits": (64, 96), "most": 2, "places": None, "batch_size": 2}
    return BoxInput(splits, eval_batch_size=2, **given | options)


@functools.cache
def batches(kind, folder):
    write, load = FORMATS[kind]
    found = opened(load(write(folder / kind)))
    return found, [*found.train(0, 2 * found.epoch_batches), *found.test()]


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_a_format_gives_the_batches_of_the_others(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    (one, expected), (other, found) = (batches(k, folder) for k in ("coco", kind))
    assert one.class_names == other.class_names == CLASSES
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=1e-4, err_msg=name)


def test_workers_make_the_same_batches(tmp_path):
    found, expected = batches("coco", tmp_path)
    other = opened(found.splits, workers=1)
    made = [*other.train(0, 2 * other.epoch_batches), *other.test()]
    for a, b in zip(expected, made, strict=True):
        assert all((a[name] == b[name]).all() for name in a)


def test_any_step_is_reached_without_those_before_it(tmp_path):
    found, expected = batches("coco", tmp_path)
    start = found.epoch_batches + 1
    (batch,) = found.train(start, start + 1)
    assert all((batch[name] == expected[start][name]).all() for name in batch)


def test_processes_share_every_batch(tmp_path):
    found, expected = batches("coco", tmp_path)
    halves = [
        [*opened(found.splits, shard=Shard(i, 2)).train(0, found.epoch_batches)]
        for i in range(2)
    ]
    for whole, *parts in zip(expected, *halves, strict=False):
        for name in whole:
            joined = np.concatenate([part[name] for part in parts])
            assert (joined == whole[name]).all()


def test_what_a_batch_holds(tmp_path):
    found, (first, *_) = batches("coco", tmp_path)
    assert found.rule.shapes and first["image"].dtype == np.uint8
    assert first["boxes"].shape == (2, 100, 4)
    assert found.truth.category_ids == (3, 5)
    assert [image.id for image in found.truth.images] == [49, 56, 63]
    row = int(np.flatnonzero(first["mask"])[0])
    own = BOXES[int(first["index"][row])]
    assert first["valid"][row].sum() == len(own)


def changed(part, number, **fields):
    def change(stated):
        stated[part][number] |= fields
        return stated

    return change


WRONG = {
    "box that is not finite": changed("annotations", 0, bbox=[1, 2, float("nan"), 4]),
    "box that is not four numbers": changed("annotations", 0, bbox=[1, 2, 3]),
    "category 9 that is not listed": changed("annotations", 1, category_id=9),
    "annotation whose id another has": changed("annotations", 1, id=0),
    "image whose id another has": changed("images", 1, id=0),
    "image that is not there": changed("images", 1, file_name="lost.png"),
    "image outside of its folder": changed("images", 1, file_name="../val/8.png"),
    "box of an image that is not listed": changed("annotations", 1, image_id=999),
}


@pytest.mark.parametrize("problem", WRONG)
def test_what_is_wrong_is_named_or_left_out_and_counted(problem, tmp_path):
    root = write_coco(tmp_path / "set", WRONG[problem])
    with pytest.raises(DataError, match=problem) as error:
        coco(root)
    assert "--data.on-bad-image skip" in str(error.value)
    assert coco(root, skip=True).train.left_out[problem] >= 1


LEFT_OUT = {
    "boxes of less than a pixel": [5, 5, 0.5, 9],
    "boxes outside of their image": [70, 5, 9, 9],
    "boxes cut at the border of their image": [50, 30, 40, 40],
}


@pytest.mark.parametrize("change", LEFT_OUT)
def test_what_the_references_leave_out_is_counted(change, tmp_path):
    root = write_coco(
        tmp_path / "set", changed("annotations", 0, bbox=LEFT_OUT[change])
    )
    train = coco(root).train
    assert train.left_out == {change: 1}
    cut = change.startswith("boxes cut")
    assert len(train.images[0].boxes) == len(BOXES[0]) - (not cut)
    if cut:
        assert train.images[0].boxes[0].tolist() == [50, 30, 60, 40]
    assert change in " ".join(opened(coco(root)).about())


def test_crowds_are_kept_and_counted(tmp_path):
    rle = {"counts": [1, 2, 3], "size": [40, 60]}
    root = write_coco(
        tmp_path / "set", changed("annotations", 0, iscrowd=1, segmentation=rle)
    )
    train = coco(root).train
    assert train.images[0].crowd.tolist() == [True, False]
    assert train.left_out["crowds"] == 1


def test_an_image_of_another_size_than_stated(tmp_path):
    """Such as a photo that Exif turns, with the boxes of the picture as stored."""
    root = write_coco(tmp_path / "set")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(root / "train" / "0.png").save(root / "train" / "0.png", exif=exif)
    found = opened(coco(root))
    with pytest.raises(DataError, match=r"0\.png.*states 60 × 40.*has 40 × 60"):
        [*found.train(0, found.epoch_batches)]


def test_a_bad_image_is_an_empty_one_where_it_may_be_skipped(tmp_path, caplog):
    root = write_coco(tmp_path / "set")
    (root / "train" / "0.png").write_bytes(b"no picture")
    found = opened(coco(root, skip=True), skip=True)
    made = [*found.train(0, found.epoch_batches)]
    assert found.skipped == 1 and "skipped 0.png" in caplog.text
    assert sum(batch["mask"].sum() for batch in made) == 6
    assert not any(0 in batch["index"] for batch in made)


def test_broken_json(tmp_path):
    root = write_coco(tmp_path / "set")
    text = (root / "train.json").read_text()
    (root / "train.json").write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match="no JSON, or cut"):
        coco(root)
    (root / "train.json").write_text(json.dumps([1, 2]))
    with pytest.raises(DataError, match="must be an object with images"):
        coco(root)


def test_every_box_needs_a_place(tmp_path):
    splits = coco(write_coco(tmp_path / "set"))
    with pytest.raises(DataError, match=r"3 boxes, data\.places is 2"):
        places_for(splits, 2)
    assert places_for(splits, None) == 100


def test_nothing_to_learn(tmp_path):
    root = write_coco(tmp_path / "set", lambda s: s | {"annotations": []})
    with pytest.raises(DataError, match="no training image has a box"):
        opened(coco(root))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_says_what_it_is(kind, tmp_path):
    root = FORMATS[kind][0](tmp_path / kind)
    if kind == "coco":
        (root / "annotations").mkdir()
        (root / "train.json").rename(root / "annotations" / "train.json")
    assert looks_like(root) == kind


def test_an_xml_bomb_is_refused(tmp_path):
    root = write_voc(tmp_path / "voc")
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
    (root / "Annotations" / "0.xml").write_text(bomb)
    with pytest.raises(DataError, match="declares entities"):
        load_voc(root, "train", "val", LIMITS)


@pytest.mark.parametrize("text", ["names: ['cat', dog]\n", "names:\n- cat\n- dog\n"])
def test_names_of_yolo(text, tmp_path):
    root = write_yolo(tmp_path / "yolo")
    (root / "data.yaml").write_text(text)
    assert FORMATS["yolo"][1](root).train.class_names == CLASSES
