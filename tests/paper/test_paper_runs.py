"""A run fills the row of its network, if it is one of the paper's training."""

import dataclasses
import json

import pytest
from support.paper_runs import coco, detected, finished, imagenet, with_data

from configs.imagenet import prm_mobilenet_v2_l1, prm_resnet18_position
from prm_flax.paper.__main__ import TABLES
from prm_flax.paper.match import placed, unfit
from prm_flax.paper.page import make_page
from prm_flax.runs import read_run
from train.config import Init

TABLE5 = TABLES["table5"]


@pytest.fixture
def run(tmp_path):
    """Makes the folder of a run and reads it."""

    def make(config, **changed):
        name = str(len(list(tmp_path.iterdir())))
        return read_run(finished(tmp_path / name, config, **changed))

    return make


def rows(table, run):
    found, _ = placed(TABLES[table], [run])
    return list(found)


@pytest.mark.parametrize(
    ("config", "table", "row"),
    [
        (imagenet("resnet50"), "table1", 0),
        (imagenet("sk_resnet50"), "table1", 4),
        (imagenet("prm_resnet50"), "table1", 7),
        (imagenet("prm_resnet50"), "table2", 1),
        (imagenet("prm_resnet50"), "table3", 2),
        (imagenet("prm_resnet50", similarity="dot", groups=64), "table3", 2),
        (imagenet("prm_resnet50", similarity="cosine"), "table3", 0),
        (prm_mobilenet_v2_l1.config(), "table3", 4),
        (imagenet("resnet18"), "table5", 0),
        (prm_resnet18_position.config(), "table5", 2),
        (imagenet("prm_resnet18", position=False), "table5", 3),
        (imagenet("prm_resnet18", ddof=1, zero_init=True, remat=True), "table5", 4),
    ],
)
def test_it_fills_the_row_of_its_network_and_no_other(run, config, table, row):
    assert rows(table, run(config)) == [row]


@pytest.mark.parametrize(
    ("config", "table"),
    [
        (imagenet("prm_resnet50", similarity="l1"), "table1"),
        (imagenet("prm_resnet50", groups=32), "table1"),
        (imagenet("prm_resnet50", position=False), "table2"),
        (imagenet("prm_resnet18", groups=8), "table5"),
        (imagenet("resnet50", stem="3x3"), "table1"),
        (imagenet("resnet34"), "table5"),
    ],
)
def test_another_network_fills_none(run, config, table):
    given = run(config)
    found, (said,) = placed(TABLES[table], [given])
    assert not found
    name = f"no row of Table {table[-1]} is {config.model.name}"
    assert said.startswith(f"{given.folder} is not used: {name}")


def test_a_network_with_other_classes_fills_none(run):
    assert "11,180,616 parameters" in unfit(
        TABLE5, run(imagenet("prm_resnet18"), parameters=11_180_616)
    )


PLAIN = imagenet("resnet18")
OTHERS = {
    "dataset": (
        with_data(PLAIN, source="fashion_mnist"),
        {},
        "it is a run of 'fashion_mnist', not of ImageNet, the dataset of Table 5",
    ),
    "photos": (
        with_data(PLAIN, source="imagenet_photos"),
        {},
        "a run of 'imagenet_photos', not of ImageNet",
    ),
    "another folder of images": (
        with_data(PLAIN, source="image_folder"),
        {"steps": 700},
        "700 steps of 256 images are not 100 passes over the 1,281,167 images",
    ),
    "smaller images": (
        with_data(PLAIN, image_size=160),
        {},
        "its images have 160 pixels a side, those of Table 5 224",
    ),
    "weights": (
        dataclasses.replace(PLAIN, init=Init("trained.pth")),
        {},
        "it started from the weights 'trained.pth'",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_training_fills_none(run, what):
    config, changed, words = OTHERS[what]
    assert words in unfit(TABLE5, run(config, **changed))


def test_imagenet_in_folders_is_imagenet(run):
    assert rows("table5", run(with_data(PLAIN, source="image_folder"))) == [0]


def test_detectors_take_no_run(run):
    words = unfit(TABLES["table4"], run(PLAIN))
    assert words == "it is a run of a classifier, Table 4 is of detectors"


def test_the_cells_have_the_run_s_numbers_and_the_caption_its_folder(run):
    given = run(imagenet("prm_resnet18"), top1=70.25, top5=89.125)
    page = make_page(TABLE5, placed(TABLE5, [given])[0])
    texts = [[cell.text for cell in row[3:7]] for row in page.rows]
    assert texts[4] == ["70.5616", "70.2500", "89.6635", "89.1250"]
    assert {row[1] + row[3] for row in texts[:4]} == {""}
    (said,) = [note for note in page.notes if given.folder in note]
    assert f"✓ ✓ ✓: {given.folder}, 100 epochs" in said
    assert said.endswith("Blank: no run was given.")


def test_a_run_from_before_top_5_was_written_down_leaves_it_blank(run):
    given = run(imagenet("prm_resnet18"), top5=None)
    page = make_page(TABLE5, placed(TABLE5, [given])[0])
    assert [cell.text for cell in page.rows[4][3:7]][1::2] == ["70.5000", ""]
    assert any("wrote no top-5 down" in note for note in page.notes)


def test_two_runs_for_one_row_are_refused(run):
    runs = run(PLAIN), run(PLAIN, top1=1)
    with pytest.raises(ValueError, match="a row takes one run") as caught:
        placed(TABLE5, runs)
    assert all(each.folder in str(caught.value) for each in runs)


def test_a_network_that_cannot_be_is_refused_by_the_nearest_name(tmp_path):
    folder = finished(tmp_path / "run", PLAIN)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["model.stem"] = "imagenett"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="Did you mean 'imagenet'"):
        unfit(TABLE5, read_run(folder))


# All parameters: those that the paper counts, and stem and stage 1.
RETINANET = 37_746_715 + 9_536 + 215_808 + 3 * 259


def of_coco(folder, config=None, **changed):
    config = config or coco("retinanet_prm_resnet50")
    return read_run(detected(folder, config, **{"parameters": RETINANET} | changed))


def test_a_detector_s_run_fills_its_row_of_table_4(tmp_path):
    given = of_coco(tmp_path / "run")
    found, unused = placed(TABLES["table4"], [given])
    assert list(found) == [2] and not unused
    page = make_page(TABLES["table4"], found)
    titles = [head.title for head in page.heads]
    first = titles.index("AP50:95")
    plain = [cell.plain for cell in page.rows[2][first : first + 8]]
    assert plain == ["37.7", "37.0", "58.4", "58.0", "39.7", "", "21.4", "20.0"]
    assert any(note.startswith("Average precisions here are of") for note in page.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 10}, "10 steps of 16 images are not 24 passes over the 118,287"),
        ({"parameters": 7}, "no row of Table 4 is retinanet_prm_resnet50"),
    ],
)
def test_another_training_of_it_fills_none(tmp_path, change, words):
    assert words in unfit(TABLES["table4"], of_coco(tmp_path / "run", **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": {"source": "voc"}}, "it is a run of 'voc', not of COCO"),
        ({"data": {"size": (512, 512)}}, "its images have [512, 512] pixels at most"),
        ({"init": Init()}, "it started from nothing"),
    ],
)
def test_another_config_fills_none(tmp_path, change, words):
    config = coco("retinanet_prm_resnet50")
    if "data" in change:
        change = {"data": dataclasses.replace(config.data, **change["data"])}
    given = of_coco(tmp_path / "run", dataclasses.replace(config, **change))
    assert words in unfit(TABLES["table4"], given)


def test_classifiers_and_detectors_are_not_mixed_up(tmp_path):
    assert "is of classifiers" in unfit(TABLE5, of_coco(tmp_path / "run"))
