"""The tables: the paper's digits, this project's numbers, and why they differ."""

import json
from pathlib import Path

import pytest

from prm_flax.paper.__main__ import TABLES
from prm_flax.paper.form import Column, Row, Table
from prm_flax.paper.measure import COUNTED, counts, network, written
from prm_flax.paper.page import UNEXPLAINED, make_page

COUNTS = json.loads(
    (Path(__file__).parents[1] / "golden" / "public" / "counts.json").read_text()
)
# The numbers of each table, row after row, typed in from the paper.
PRINTED = {
    "table1": """
        75.8974 92.7224 4.122 25.557
        77.2877 93.6478 4.130 28.088
        76.2357 92.9847 4.127 25.557
        77.2840 93.6005 4.139 28.090
        77.3657 93.5256 4.187 26.154
        74.8966 92.2812 4.130 28.105
        77.5072 93.6783 4.127 25.560
        77.6474 93.6418 4.128 25.560""",
    "table2": """
        75.8974 4.122G 25.56M
        77.6474 4.128G 25.56M
        71.0320 0.320G 3.51M
        72.5466 0.321G 3.51M
        71.7195 0.330G 4.38M
        73.0147 0.331G 4.38M""",
    "table3": """
        77.6517 93.6711
        77.6012 93.5944
        77.6474 93.6418
        72.5374 90.8714
        72.5570 90.7993
        72.5466 90.8960""",
    "table4": """
        36.2 55.9 38.5 19.4 39.8 48.3 239.32 37.74
        37.4 57.8 39.8 20.6 40.8 50.3 239.43 40.25
        37.7 58.4 39.7 21.4 40.6 50.7 239.32 37.74
        40.6 58.9 44.2 22.4 43.7 54.7 234.71 69.17
        41.1 59.7 44.6 23.6 44.1 54.3 234.82 71.69
        42.5 61.2 46.2 24.2 45.8 56.4 234.71 69.17""",
    "table5": """
        68.9632 88.5902
        70.1863 89.4491
        70.2388 89.4970
        70.4467 89.5653
        70.5616 89.6635""",
}
MODELS = {
    "table1": [
        f"{prefix}resnet50"
        for prefix in ("", "se_", "ge_", "cbam_", "sk_", "gc_", "sge_", "prm_")
    ],
    "table2": [
        f"{prefix}{plain}"
        for plain in ("resnet50", "mobilenet_v2", "mnasnet1_0")
        for prefix in ("", "prm_")
    ],
    "table3": ["prm_resnet50"] * 3 + ["prm_mobilenet_v2"] * 3,
    "table4": [
        *(f"retinanet_{prefix}resnet50" for prefix in ("", "se_", "prm_")),
        *(f"cascade_rcnn_{prefix}resnet50" for prefix in ("", "gc_", "prm_")),
    ],
    "table5": ["resnet18"] + ["prm_resnet18"] * 4,
}
ROWS = [(name, i) for name, table in TABLES.items() for i in range(len(table.rows))]


@pytest.mark.parametrize("name", PRINTED)
def test_every_printed_digit(name):
    want = [line.split() for line in PRINTED[name].strip().splitlines()]
    assert [list(row.printed) for row in TABLES[name].rows] == want


def test_all_five_tables_are_there():
    assert [*TABLES] == [*PRINTED] == [f"table{n}" for n in range(1, 6)]
    assert [table.number for table in TABLES.values()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", TABLES)
def test_a_row_has_a_word_and_a_number_for_each_column(name):
    table = TABLES[name]
    for row in table.rows:
        assert len(row.labels) == len(table.labels)
        assert len(row.printed) == len(table.columns)
    assert len({row.labels for row in table.rows}) == len(table.rows)


@pytest.mark.parametrize("name", TABLES)
def test_rows_have_their_networks(name):
    assert [row.model for row in TABLES[name].rows] == MODELS[name]


def test_the_variants_are_the_options_of_their_rows():
    assert [row.options["similarity"] for row in TABLES["table3"].rows] == [
        "cosine",
        "l1",
        "dot",
    ] * 2
    for row in TABLES["table5"].rows[1:]:
        _, position, normalization = row.labels
        assert row.options.get("position", True) == bool(position)
        assert row.options.get("normalize", True) == bool(normalization)


@pytest.mark.parametrize(("name", "i"), [row for row in ROWS if row[0] != "table4"])
def test_counts_are_those_of_the_public_programs(name, i):
    row = TABLES[name].rows[i]
    want = COUNTS[row.model]
    assert counts(row).parameters == want["parameters"]
    assert counts(row).counter == want["counter_ops_224"]


@pytest.mark.parametrize("name", TABLES)
def test_no_two_rows_are_of_one_network(name):
    networks = [network(row) for row in TABLES[name].rows]
    assert all(networks.count(each) == 1 for each in networks)


def differences(row, columns):
    """The measures of a row that round to other digits than are printed."""
    return {
        column.measure
        for column, printed in zip(columns, row.printed, strict=True)
        if column.measure in COUNTED
        and printed
        != written(column.measure, getattr(counts(row), column.measure), printed)
    }


@pytest.mark.parametrize(("name", "i"), ROWS)
def test_every_difference_has_a_footnote_and_every_footnote_a_difference(name, i):
    table = TABLES[name]
    row = table.rows[i]
    assert differences(row, table.columns) == row.why.keys()
    page = make_page(table, {})
    marks = [cell.mark for cell in page.rows[i] if cell.mark]
    assert len(marks) == len(row.why)
    for mark, why in zip(marks, row.why.values(), strict=True):
        assert f"({mark}) {why}" in page.notes


def test_the_differences_there_are():
    found = [
        (row.labels, measure)
        for table in TABLES.values()
        for row in table.rows
        for measure in row.why
    ]
    assert found == [
        (("SGE-ResNet50 [Li et al., 2019a]",), "parameters"),
        (("PRM-ResNet50 (ours)",), "parameters"),
        (("MobileNetV2", "w/o"), "parameters"),
        (("RetinaNet", "PRM-ResNet50 (ours)"), "counter"),
        (("RetinaNet", "PRM-ResNet50 (ours)"), "parameters"),
        (("Cascade R-CNN", "PRM-ResNet50 (ours)"), "counter"),
    ]


def test_a_difference_that_nobody_explained_is_marked_all_the_same():
    row = Row(("wrong",), ("25.558",), "resnet50")
    columns = (Column("Parameters (M)", "parameters"),)
    page = make_page(Table(9, "", ("Model",), columns, (row,)), {})
    assert page.rows[0][2].mark == "a"
    assert page.notes[-1] == f"(a) {UNEXPLAINED}"


def test_numbers_take_the_paper_s_decimals_and_unit():
    assert written("counter", 4_128_330_944, "4.128") == "4.128"
    assert written("counter", 4_128_330_944, "4.128G") == "4.128G"
    assert written("parameters", 3_504_872, "3.51M") == "3.50M"
    assert written("parameters", 3_504_872) == "3.505"
    assert written("top1", 77.5, "77.6474") == "77.5000"


# Trained parameters; GMac as tables have it, with four decimals.
DETECTORS = [
    (37_743_348, "239.3165"),
    (40_248_948, "239.4317"),
    (37_746_715, "239.4473"),
    (69_169_422, "234.7070"),
    (71_691_163, "234.8224"),
    (69_172_789, "234.8377"),
]


@pytest.mark.parametrize("i", range(6))
def test_detectors_are_counted_without_what_is_frozen(i):
    row, (parameters, giga) = TABLES["table4"].rows[i], DETECTORS[i]
    assert counts(row).parameters == parameters
    assert f"{counts(row).counter / 1e9:.4f}" == giga
    exact = [why for name, why in row.why.items() if name == "counter"]
    assert all(giga in why for why in exact)


def test_of_detectors_precisions_are_blank_and_the_page_says_so():
    page = make_page(TABLES["table4"], {})
    for i, head in enumerate(page.heads):
        blank = head.whose == "here" and "AP" in head.title
        assert {bool(row[i].text) for row in page.rows} == {not blank} or not head.whose
    assert any("has trained no detector on MS COCO" in note for note in page.notes)
    assert any("of 1280×800" in note for note in page.notes)


@pytest.mark.parametrize("name", [name for name in TABLES if name != "table4"])
def test_without_a_run_accuracies_are_blank_and_the_page_says_so(name):
    page = make_page(TABLES[name], {})
    for i, head in enumerate(page.heads):
        blank = head.whose == "here" and "top" in head.title
        assert {bool(row[i].text) for row in page.rows} == {not blank} or not head.whose
    assert any("no run on ImageNet was given" in note for note in page.notes)
    assert f"IJCAI 2020, Table {name[-1]}." in page.notes[0]
