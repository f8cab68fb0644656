"""A run's classes, source and preprocessing are its own, whatever a folder holds now.

The run of these tests was not trained: its network says "dog" of every image.
"""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from prm_flax.interop import safetensors
from train import fit as fitting
from train import report, sharding
from train.checkpoints.manager import Checkpoints
from train.cli import main, typed
from train.config import Config, Data, Init, Model
from train.data.datasets import fashion_mnist
from train.experiment import build
from train.export.weights import save_weights
from train.initialization import read_about
from train.workdir.run_data import data_of, write_data
from train.workdir.same_config import write_config
from train.workdir.trained import as_trained, open_trained

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = ("cat", "cow", "dog")
MODEL = Model(name="resnet14", stem="3x3_stride2")
CONFIG = """
from train.config import Checkpoint, Config, Data, Model
def config():
    return Config(name="own", model=Model(name="resnet14", stem="3x3_stride2"))
"""


def write_tree(root, classes, each=4):
    for part in ("train", "val"):
        for label, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True)
            for k in range(each):
                image = np.full((12, 14, 3), 40 * label + k, np.uint8)
                Image.fromarray(image).save(folder / f"{k}.png")
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a run, its images, and a config that knows nothing of them."""
    base = tmp_path_factory.mktemp("own")
    photos = write_tree(base / "photos", CLASSES)
    data = Data(
        source="image_folder",
        root=str(photos),
        mean=MEAN,
        std=STD,
        image_size=8,
        eval_resize=8,
        workers=0,
    )
    config = Config(name="own", model=MODEL, data=data, batch_size=4, epochs=1)
    experiment = build(config)
    zeros = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype), experiment.abstract_state
    )
    zeros.params["fc"]["bias"][CLASSES.index("dog")] = 9.0
    run = base / "run"
    run.mkdir()
    write_config(run, config)
    write_data(run, data_of(experiment.input))
    checkpoints = Checkpoints(run / "checkpoints", 1)
    checkpoints.save(sharding.put_state(experiment.mesh, zeros), {"train_seconds": 0.0})
    checkpoints.close()
    network = experiment.task.network(variables=zeros.variables)
    save_weights(network, base / "own.safetensors")
    (base / "config.py").write_text(CONFIG)
    return base


@pytest.fixture
def own(made, tmp_path):
    """The same, to be changed."""
    for name in ("run", "photos"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def command(made, capsys, monkeypatch):
    """Runs a command on a run as from the command line; code, output, errors."""

    def nothing(*_):
        raise AssertionError("a command that works on a run must fetch nothing")

    monkeypatch.setattr(fashion_mnist, "_fetch", nothing)
    monkeypatch.setenv("PRM_DATA_DIR", "/nowhere")

    def run(name, folder, *flags):
        words = [name, str(made / "config.py"), "--workdir", str(folder / "run")]
        capsys.readouterr()
        code = main([*words, *map(str, flags)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_predict_needs_no_data_and_takes_all_of_the_run(made, own, command):
    shutil.rmtree(own / "photos")
    photo = made / "photos/val/cat/0.png"
    code, out, err = command("predict", own, "--predict.images", photo)
    assert code == 0, err
    assert out.startswith(f"{photo}: dog 100.0 %, cat 0.0 %, cow 0.0 %\n")


def test_a_renamed_class_keeps_its_name(own, command):
    for part in ("train", "val"):
        (own / "photos" / part / "cat").rename(own / "photos" / part / "zcat")
    photo = own / "photos/val/zcat/0.png"
    root = "--data.root", own / "photos"
    code, out, err = command("predict", own, *root, "--predict.images", photo)
    assert code == 0 and f"{photo}: dog 100.0 %, cat 0.0 %" in out, err
    for name in ("evaluate", "export"):
        code, _, err = command(name, own, *root)
        assert code == 2
        assert "class for the network of this run 'zcat'. Did you mean 'cat'?" in err


def test_a_subset_is_evaluated_by_name(own, command):
    few = write_tree(own / "few", ("cow", "dog"))
    code, out, err = command("evaluate", own, "--data.root", few)
    assert code == 0, err
    assert "classes: 2 of the network's 3, taken by their names\n" in out
    assert "8 test images, of other files than the run's 12\n" in out
    assert out.endswith("test top-1 50.00 %\n")


def test_another_order_of_the_run_is_evaluated_by_name(own, command):
    path = own / "run/data.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"class_names": ["dog", "cat", "cow"]}))
    # Now the logit that is always the highest, the third, means a cow.
    photo = own / "photos/val/dog/0.png"
    _, out, _ = command("predict", own, "--predict.images", photo)
    assert out.startswith(f"{photo}: cow 100.0 %")
    cows = write_tree(own / "cows", ("cow",))
    code, out, _ = command("evaluate", own, "--data.root", cows)
    assert code == 0 and out.endswith("test top-1 100.00 %\n")


def test_the_run_s_own_images_need_no_words(made, command):
    code, out, err = command("evaluate", made)
    assert code == 0, err
    assert out.startswith("step 0: 12 images") and "classes:" not in out


def test_flags_that_contradict_the_run_are_refused(made, command):
    for flag, value in (("mean", "0.5"), ("image-size", "4")):
        code, _, err = command("evaluate", made, f"--data.{flag}", value)
        assert code == 2
        assert f"data.{flag.replace('-', '_')}: was" in err


def test_nothing_is_fetched_for_a_run(made, command, monkeypatch):
    monkeypatch.delenv("PRM_DATA_DIR")
    monkeypatch.setattr(fashion_mnist, "SYSTEM", made / "nowhere")
    monkeypatch.setattr(fashion_mnist, "CACHE", made / "nowhere")
    code, _, err = command("evaluate", made, "--data.source", "fashion_mnist")
    assert code == 2
    assert "fetches nothing" in err and "make data" in err


def test_export_has_the_run_s_classes_where_the_images_are_gone(own, command, tmp_path):
    shutil.rmtree(own / "photos")
    code, _, err = command("export", own)
    assert code == 0, err
    about = json.loads((own / "run/export/export.json").read_text())
    assert about["class_names"] == [*CLASSES]
    known = safetensors.read_about(own / "run/export/model.safetensors")
    assert known.class_names == CLASSES
    assert known.preprocessing == (MEAN, STD, (8, 8, 3), 8)


def test_a_run_that_does_not_say_its_classes_has_the_folder_s(own, command):
    (own / "run/data.json").unlink()
    photo = own / "photos/val/cat/0.png"
    code, out, _ = command("predict", own, "--predict.images", photo)
    assert code == 0
    assert "was made before runs kept their classes" in out
    assert f"{photo}: dog 100.0 %" in out


def test_weights_from_a_file_bring_names_and_preprocessing(made, tmp_path):
    init = Init(str(made / "own.safetensors"))
    given = Config(name="other", model=MODEL, init=init, workdir=str(tmp_path))
    config = as_trained(given, {"init.file"})
    assert (config.data.mean, config.data.std) == (MEAN, STD)
    experiment = open_trained(config, images=False)
    assert experiment.input.class_names == CLASSES
    assert experiment.model.num_classes == 3
    image = experiment.input.read(made / "photos/val/cow/0.png")
    np.testing.assert_array_equal(image, np.full((8, 8, 3), 40, np.uint8))
    typed = as_trained(given, {"init.file", "data.mean"})
    assert typed.data.mean == given.data.mean


def test_of_a_new_classifier_the_names_are_not_known(made):
    weights = str(made / "own.safetensors")
    assert read_about(Init(weights)).class_names == CLASSES
    assert read_about(Init(weights, new=("fc",))).class_names == ()


@pytest.fixture
def no_training(monkeypatch):
    def never(*_, **__):
        raise AssertionError("refused before a state is made")

    monkeypatch.setattr(fitting, "_start", never)
    monkeypatch.setattr(report, "write_report", never)


@pytest.mark.usefixtures("no_training")
def test_a_run_does_not_go_on_with_other_images(own, command):
    extra = own / "photos/train/cat/99.png"
    shutil.copy(own / "photos/train/cat/0.png", extra)
    recorded = json.loads((own / "run/config.json").read_text())
    flags = ["--batch-size", "4", "--epochs", "1", "--data.root", own / "photos"]
    for name in ("source", "mean", "std", "image_size", "eval_resize", "workers"):
        value = recorded[f"data.{name}"]
        words = value if isinstance(value, list) else [value]
        flags += [f"--data.{name.replace('_', '-')}", *words]
    before = sorted((p, p.stat().st_mtime_ns) for p in (own / "run").iterdir())
    code, _, err = command("fit", own, *flags)
    assert code == 2
    assert "train images: were 12, are 13" in err
    after = sorted((p, p.stat().st_mtime_ns) for p in (own / "run").iterdir())
    assert [p for p in after if p[0].name != ".lock"] == before


def test_fields_that_were_typed():
    words = "--data.image-size 64 --model.name=resnet14 --init f.pth -1 --profile 3"
    assert typed(words.split()) == {
        "data.image_size",
        "model.name",
        "init.file",
        "profile",
    }
