"""`rates` and `looks` from files to pictures; what they refuse, and how."""

import json
import os

import jax
import matplotlib.image
import numpy as np
import pytest
from safetensors.numpy import save as to_bytes
from support.images import PNG
from support.weights import write_weights

from prm_flax.detection import create_detector
from prm_flax.figures import looks_plot, maps
from prm_flax.figures.__main__ import main
from prm_flax.figures.look import look
from prm_flax.figures.looks_plot import Looks, draw_looks
from prm_flax.figures.photo import Preparation, preparation_of, read_photo
from prm_flax.figures.weights import read_weights
from prm_flax.interop import safetensors
from prm_flax.interop.metadata import About, Preprocessing
from prm_flax.interop.torch import read_pth

OPTIONS = {"num_classes": 10, "groups": 8, "stem": "3x3_stride2"}
CONFIG = {
    "name": "mine",
    "data.source": "fashion_mnist",
    "data.mean": [0.286],
    "data.std": [0.353],
    "data.image_size": 224,
    "data.eval_resize": 256,
}
BLOCKS = [f"layer{s}_{i}/prm" for s in (1, 2, 3) for i in (0, 1)]


def write_detector(path):
    """A detector with some weights, of images of 64×64."""
    name = "retinanet_prm_resnet14"
    options = {"num_classes": 2, "stem": "imagenet", "groups": 8, "channels": 8}
    model = create_detector(name, **options)
    drawn = np.random.default_rng(0)
    abstract = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 64, 64, 3)))
    variables = jax.tree.map(
        lambda leaf: np.float32(0.1 + 0.05 * drawn.random(leaf.shape)), abstract
    )
    prepared = Preprocessing((0.5,), (0.2,), (64, 64, 3), 0)
    about = About(("a", "b"), prepared)
    safetensors.save(path, name, options, variables, about)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run's folder, other files of weights, a photo."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "run").mkdir()
    (folder / "run/config.json").write_text(json.dumps(CONFIG))
    write_weights(folder / "run/model.safetensors", "prm_resnet14", 1, **OPTIONS)
    write_weights(folder / "plain.safetensors", "resnet14", 3, num_classes=4)
    write_weights(folder / "prm.pth", "prm_resnet14", 3, num_classes=4)
    write_weights(folder / "plain.pth", "resnet14", 3, num_classes=4)
    theirs = {f"model.{n}": a for n, a in read_pth(folder / "prm.pth").items()}
    (folder / "theirs.safetensors").write_bytes(to_bytes(theirs, {"format": "pt"}))
    write_detector(folder / "boxes.safetensors")
    (folder / "photo.png").write_bytes(PNG)
    (folder / "text.png").write_text("no image")
    names = [f"$thing_{k} caf\udce9" for k in range(10)]
    (folder / "names.json").write_text(json.dumps(names))
    return folder


@pytest.fixture
def files(folder, monkeypatch):
    """The folder, with nothing drawn in it yet."""
    monkeypatch.chdir(folder)
    yield folder
    for path in folder.glob("out*"):
        path.unlink()


SMALL = ["--size", "32", "--resize", "40"]


def test_rates_of_a_run_are_said_and_drawn(files, capsys):
    assert main(["rates", "run", "out.png"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    _, variables = safetensors.load(files / "run/model.safetensors")
    rates = maps.contribution_rates(variables)
    assert list(rates) == BLOCKS
    stages = {name: f"stage{name[5]}" for name in BLOCKS}
    said = [line.split() for line in lines]
    assert said == [[name, stages[name], f"{r:.4f}"] for name, r in rates.items()]
    assert last == "picture: out.png"
    assert np.ptp(matplotlib.image.imread("out.png")[..., :3]) > 0.5


def test_rates_of_a_pytorch_file_are_the_same(files, capsys):
    assert main(["rates", "prm.pth", "out.png", "--model", "prm_resnet14"]) == 0
    of_pth = capsys.readouterr().out
    theirs = ["theirs.safetensors", "out.png", "--model", "prm_resnet14"]
    assert main(["rates", *theirs]) == 0
    assert capsys.readouterr().out == of_pth
    write_weights(files / "out.safetensors", "prm_resnet14", 3, num_classes=4)
    assert main(["rates", "out.safetensors", "out.png"]) == 0
    assert capsys.readouterr().out == of_pth


def test_looks_of_a_run_prepare_images_as_the_run_does(files, capsys):
    names = ["--class-names", "names.json"]
    assert main(["looks", "run", "photo.png", "out.png", *names]) == 0
    classes, picture = capsys.readouterr().out.splitlines()
    weights = read_weights(files / "run")
    preparation = preparation_of(CONFIG)
    pixels = read_photo(files / "photo.png", 1, preparation)
    logits = jax.jit(weights.model.apply)(
        weights.variables, (pixels[None] / 255 - 0.286) / 0.353
    )
    shares = np.asarray(jax.nn.softmax(logits[0]))
    best = np.argsort(-shares)[:5]
    expected = ", ".join(f"$thing_{k} caf\\xe9 {100 * shares[k]:.1f} %" for k in best)
    assert classes == expected
    assert picture == "picture: out.png"
    seen = look(weights, pixels, preparation)
    assert list(seen.looks.queries) == list(seen.looks.masks) == list(seen.looks.cams)
    assert seen.class_index == best[0]
    assert matplotlib.image.imread("out.png").shape[2] == 4


def test_looks_takes_names_and_preprocessing_of_the_weights(files, capsys):
    known = [f"kind {k}" for k in range(10)]
    about = safetensors.About(
        tuple(known), safetensors.Preprocessing((0.286,), (0.353,), (28, 28, 1), 0)
    )
    (files / "kinds.txt").write_text("\n".join(known))
    _, variables = safetensors.load(files / "run/model.safetensors")
    safetensors.save("out.safetensors", "prm_resnet14", OPTIONS, variables, about)
    said = []
    for weights, names in (("run", "kinds.txt"), ("out.safetensors", None)):
        flags = ["--class-names", names] if names else []
        assert main(["looks", weights, "photo.png", "out.png", *flags]) == 0
        said.append(capsys.readouterr().out)
    assert said[1] == said[0]


def test_a_file_in_a_runs_folder_is_of_the_run(files):
    for path in (files / "run", files / "run/model.safetensors"):
        weights = read_weights(path)
        assert (weights.title, weights.config) == ("mine", CONFIG)
    alone = read_weights(files / "plain.safetensors")
    assert (alone.title, alone.config) == ("plain", {})


def test_looks_of_a_network_without_prm_are_grad_cam_alone(files, capsys):
    given = ["plain.safetensors", "photo.png", "out.png", "--class-index", "2"]
    assert main(["looks", *given, *SMALL]) == 0
    assert "no PRM: Grad-CAM alone" in capsys.readouterr().out
    weights = read_weights(files / "plain.safetensors")
    pixels = np.zeros((32, 32, 3), np.uint8)
    seen = look(weights, pixels, Preparation((0.5,), (0.5,), 32, 40), 2)
    assert (seen.class_index, seen.looks.queries, seen.looks.masks) == (2, {}, {})
    assert list(seen.looks.cams) == ["stage1", "stage2", "stage3"]


def test_fresh_prms_leave_the_classes_and_are_named_untrained(files, capsys):
    given = ["photo.png", "out.png", *SMALL]
    assert main(["looks", "plain.pth", *given, "--model", "resnet14"]) == 0
    plain = capsys.readouterr().out.splitlines()[0]
    model = "--model", "prm_resnet14"
    assert main(["looks", "plain.pth", *given, *model, "--fresh-prm"]) == 0
    classes, note, _ = capsys.readouterr().out.splitlines()
    assert classes == plain
    assert note.startswith("untrained PRMs")


NO = {
    "rates missing.safetensors out.png": "missing.safetensors is not there",
    "rates missing.pth out.png --model resnet14": "missing.pth is not there",
    "rates photo.png out.png": "folder of a run or end in .safetensors, .pth or .pt",
    "rates plain.safetensors out.png": "no PRM, so no contribution rates: take the",
    "rates prm.pth out.png": "add --model NAME",
    "rates prm.pth out.png --model prm_resnet15": "Unknown model 'prm_resnet15'",
    "rates plain.pth out.png --model prm_resnet14": "missing: layer1.0.prm",
    "rates plain.pth out.png --model resnet14 --fresh-prm": "take --model prm_resnet14",
    "rates prm.pth out.png --model prm_resnet14 --fresh-prm": "prm.pth has its own",
    "rates run out.png --model prm_resnet14": "of other programs: run says itself",
    "rates theirs.safetensors out.png": "add --model NAME",
    "rates theirs.safetensors out.png --model resnet20": "is it prm_resnet14?",
    "rates run/model.safetensors out.png --ddof 1": "of other programs: run/model",
    "rates run out.pdf": "out.pdf must end in .png",
    "looks run missing.png out.png": "missing.png: ",
    "looks run text.png out.png": "IMAGE must be an image file (JPEG",
    "looks run photo.png out.pdf": "out.pdf must end in .png",
    "looks run photo.png out.png --class-index 10": "one integer from 0 to 9",
    "looks run photo.png out.png --class-names text.png": "must have 10 names",
    "looks run photo.png out.png --mean 0 0 0": "must have 1 number(s)",
    "looks run photo.png out.png --size 40 --resize 30": "1 <= size <= resize",
    "accuracy out.png run": "result.json is not there",
}


@pytest.mark.parametrize("line", NO)
def test_wrong_input_is_refused_with_the_fix_and_nothing_is_written(
    files, line, capsys
):
    before = sorted(os.listdir())
    assert main(line.split()) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and NO[line] in said.err
    assert said.out == ""
    assert sorted(os.listdir()) == before


def test_a_run_without_weights_is_refused(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert main(["rates", str(tmp_path), str(tmp_path / "out.png")]) == 2
    assert "model.safetensors is not there. Is the" in capsys.readouterr().err


def test_looks_of_a_detector_are_those_of_its_backbone(files, capsys):
    assert main(["looks", "boxes.safetensors", "photo.png", "out.png"]) == 0
    assert "query points and masks of its backbone" in capsys.readouterr().out
    assert matplotlib.image.imread("out.png").shape[0] > 300
    assert main(["rates", "boxes.safetensors", "out2.png"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[:6]] == [
        [block, f"stage{block[5]}"] for block in BLOCKS
    ]
    wrong = [
        "looks",
        "boxes.safetensors",
        "photo.png",
        "out3.png",
        "--class-index",
        "1",
    ]
    assert main(wrong) == 2
    assert "Leave --class-index out" in capsys.readouterr().err


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    monkeypatch.setattr(looks_plot, "save", lambda figure, path: figures.append(figure))
    return figures


IMAGE = np.full((8, 8, 1), 100, np.uint8)
CAMS = {"stage1": np.eye(4), "stage2": np.zeros((2, 2))}
POINTS = {stage: np.array([[1.0, 2], [1, 2], [5, 6]]) for stage in CAMS}
MASKS = {"stage1": np.eye(4) / 3, "stage2": np.full((2, 2), 0.25)}


def test_a_row_a_kind_and_a_column_a_stage(drawn):
    draw_looks("l.png", Looks(IMAGE, CAMS, POINTS, MASKS), "a title", "a note")
    (figure,) = drawn
    panels = np.array(figure.axes).reshape(3, 2)
    assert [axes.get_title() for axes in panels[0]] == ["stage1", "stage2"]
    rows = [axes.get_ylabel() for axes in panels[:, 0]]
    assert rows == ["query points", "position mask", "Grad-CAM"]
    (points,) = panels[0, 0].collections
    # Matplotlib's x is the column; two groups share the first point.
    assert points.get_offsets().tolist() == [[2, 1], [6, 5]]
    assert points.get_sizes()[0] > points.get_sizes()[1]
    assert [axes.get_xlabel() for axes in panels[1]] == ["0 to 0.33", "0.25"]
    heat = panels[2, 0].images[1].get_array()
    want = maps.in_unit_range(maps.enlarged(CAMS["stage1"], (8, 8)))
    np.testing.assert_allclose(heat, want)
    assert not panels[2, 1].images[1].get_array().any()
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["1 group", "3 groups"]
    assert figure.get_suptitle() == "a title"
    assert figure.get_supxlabel().endswith("\na note")


def test_without_prm_the_image_has_a_column(drawn):
    draw_looks("l.png", Looks(IMAGE, CAMS, {}, {}), "a title")
    (figure,) = drawn
    assert [axes.get_title() for axes in figure.axes] == ["image", "stage1", "stage2"]
    assert [len(axes.images) for axes in figure.axes] == [1, 2, 2]
    assert not figure.legends
