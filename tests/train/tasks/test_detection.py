"""Detection as the program's task: trained, stopped, gone on with, looked at."""

import contextlib
import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
from PIL import Image
from support.box_sets import BOXES, pixels, write_coco, write_yolo

from prm_flax.interop import safetensors
from train import sharding
from train.config import (
    Checkpoint,
    DetectionConfig,
    DetectionData,
    DetectionOptim,
    Detector,
    Log,
    Predict,
)
from train.data.input import DataError
from train.experiment import assemble, build, check_options
from train.fit import fit
from train.optim import make_schedule
from train.predict import evaluate_run, predict

MODEL = Detector(
    "retinanet_prm_resnet14",
    stem="3x3_stride2",
    groups=4,
    frozen_stages=1,
    channels=8,
    depth=1,
)
OWN_NORMS = dataclasses.replace(MODEL, norms="batch", frozen_stages=0)


def config(root, workdir, **fields):
    given = {
        "name": "boxes",
        "model": MODEL,
        "data": DetectionData(
            root=str(root),
            train_json="train.json",
            test_json="val.json",
            train_images="train",
            test_images="val",
            size=(48, 64),
            buckets=2,
            workers=0,
        ),
        "optim": DetectionOptim(peak_lr=0.01, warmup_steps=2, milestones=(2, 3)),
        "checkpoint": Checkpoint(every_steps=2),
        "log": Log(every_steps=2),
        "epochs": 3,
        "batch_size": 4,
        "eval_batch_size": 4,
        "workdir": str(workdir),
    }
    return DetectionConfig(**given | fields)


def records(workdir, kind):
    lines = map(json.loads, (workdir / "scalars.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp("sets") / "coco")


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert fit(config(root, workdir)) == 0
    return workdir


def test_a_run_trains_evaluates_and_reports(run):
    experiment = len(records(run, "test"))
    assert experiment == 3
    train = records(run, "train")[-1]
    assert train["loss"] == pytest.approx(train["loss_cls"] + train["loss_bbox"], 1e-5)
    last = records(run, "test")[-1]
    assert last["images"] == 3 and 0 <= last["AP"] <= 100
    report = (run / "report.md").read_text()
    assert "| epoch | test AP % | test AP50 %" in report
    assert "mistakes.png" in report and 0 <= last["AP50_voc"] <= 100
    for name in ("curves.png", "precision_recall.png", "detections.png"):
        assert f"({name})" in report and (run / name).stat().st_size > 5_000
    assert json.loads((run / "result.json").read_text())["test_AP"] == last["AP"]


def test_a_stopped_run_goes_on_to_the_same_bits(root, run, tmp_path, monkeypatch):
    """In the middle of an epoch, whose batches are of two shapes."""

    def stopped(self, step):
        self.signal = 15 * (step == 3)
        return bool(self)

    with monkeypatch.context() as patched:
        patched.setattr("train.preemption.Stop.after", stopped)
        assert fit(config(root, tmp_path)) == 143
    assert fit(config(root, tmp_path)) == 0
    assert records(run, "test") == records(tmp_path, "test")
    one, other = ((w / "model.safetensors").read_bytes() for w in (run, tmp_path))
    assert one == other


def test_evaluate_writes_what_coco_takes(root, run, capsys):
    assert evaluate_run(config(root, run)) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith("test AP ") and "AP50" in out[-2]
    for found in json.loads((run / "results.json").read_text()):
        assert found.keys() == {"image_id", "category_id", "bbox", "score"}
        assert found["image_id"] in (49, 56, 63) and found["category_id"] in (3, 5)


def test_predict_looks_at_any_photo(root, run, tmp_path, capsys):
    """Of any size and ratio, without the images of the run."""
    photo = tmp_path / "tall.png"
    Image.fromarray(np.tile(pixels(0), (9, 1, 1))).save(photo)
    gone = dataclasses.replace(config(root, run).data, root=str(tmp_path / "gone"))
    what = Predict((str(photo),), output=str(tmp_path / "found.png"))
    assert predict(config(root, run, data=gone), what) == 0
    assert capsys.readouterr().out.startswith(f"{photo}: ")
    assert (tmp_path / "found.png").stat().st_size > 2_000


def test_what_is_frozen_stays_and_does_not_decay(root, run, tmp_path):
    _, trained = safetensors.load(run / "model.safetensors")
    first = jax.device_get(build(config(root, tmp_path)).init())
    before, after = first.params["backbone"], trained["params"]["backbone"]
    assert (before["conv1"]["kernel"] == after["conv1"]["kernel"]).all()
    still, moved = "layer1_0", "layer2_0"
    same = jax.tree.map(lambda a, b: bool((a == b).all()), before, after)
    assert all(jax.tree.leaves(same[still]))
    assert not same[moved]["conv1"]["kernel"]


@pytest.mark.slow
def test_norms_of_the_batch_move_and_do_not_depend_on_devices(root, x64):
    given = config(root, "unused", model=OWN_NORMS)
    one, two = (after_two_steps(given, (n, "jit"), "batch_stats") for n in (1, 2))
    means = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(one)
             if "mean" in str(path)]  # fmt: skip
    assert all(np.abs(leaf).max() > 0 for leaf in means)
    for a, b in zip(*map(jax.tree.leaves, (one, two)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def after_two_steps(made, parallel, more="step"):
    """Parameters, losses and one thing more, in float64 on so many devices."""
    count, way = parallel
    given = dataclasses.replace(made, parallel=way)
    check_options(given, count)
    mesh = sharding.make_mesh(jax.devices()[:count])
    images = build(dataclasses.replace(given, parallel="jit")).input
    experiment = assemble(given, mesh, images)
    state = experiment.init()
    wide = lambda leaf: (  # noqa: E731
        leaf.astype("float64") if leaf.dtype == "float32" else leaf
    )
    state = sharding.put_state(mesh, jax.tree.map(wide, jax.device_get(state)))
    with contextlib.closing(images.train(0, 2)) as batches:
        for batch in batches:
            used = {name: batch[name] for name in experiment.task.shapes(0)}
            state = experiment.train_step(state, experiment.put(used))
    found = state.params, state.metrics.compute(), getattr(state, more)
    return jax.device_get(found)


@functools.cache
def on_one(root):
    with jax.enable_x64(True):
        return after_two_steps(config(root, "unused"), (1, "jit"))


@pytest.mark.parametrize("parallel", [
    (2, "jit"),
    *(pytest.param(p, marks=pytest.mark.slow) for p in ((4, "jit"), (2, "pmap"))),
], ids=str)  # fmt: skip
def test_devices_do_not_matter(root, parallel, x64):
    made = config(root, "unused")
    found, wanted = after_two_steps(made, parallel), on_one(root)
    for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_schedule_of_the_paper():
    optim = DetectionOptim(peak_lr=0.01)
    rate = make_schedule(optim, 24, 1000, 16)
    assert float(rate(0)) == pytest.approx(1e-5, 1e-4)
    assert float(rate(250)) == pytest.approx(0.01 * (1 - 0.5 * 0.999))
    for step, factor in ((500, 1), (15_999, 1), (16_000, 0.1), (22_000, 0.01)):
        assert float(rate(step)) == pytest.approx(0.01 * factor)


@pytest.mark.parametrize("change", [
    {"batch_size": 12, "data": {"buckets": 1}},  # more than there are images
    pytest.param({"data": {"places": 3}}, marks=pytest.mark.slow),
], ids=str)  # fmt: skip
def test_sizes_that_leave_batches_unfilled(root, tmp_path, change):
    own = config(root, tmp_path, epochs=1)
    data = dataclasses.replace(own.data, **change.pop("data", {}))
    assert fit(dataclasses.replace(own, data=data, **change)) == 0
    assert records(tmp_path, "test")[-1]["images"] == 3


def test_a_test_set_without_any_box(tmp_path):
    root = write_coco(tmp_path / "coco")
    stated = json.loads((root / "val.json").read_text())
    (root / "val.json").write_text(json.dumps(stated | {"annotations": []}))
    assert fit(config(root, tmp_path / "run", epochs=1)) == 0
    assert records(tmp_path / "run", "test")[-1]["AP"] == -1


@pytest.mark.slow
def test_ten_thousand_boxes_in_an_image(tmp_path):
    """The data choose the places; nothing is left out."""

    def crowded(stated):
        first = stated["annotations"][0]
        more = [first | {"id": 100 + i, "bbox": [i % 50, i % 30, 6, 6]}
                for i in range(10_000 - len(BOXES[0]))]  # fmt: skip
        return stated | {"annotations": stated["annotations"] + more}

    root = write_coco(tmp_path / "coco", crowded)
    made = config(root, tmp_path / "run", epochs=1)
    assert build(made).input.rule.places == 10_000
    assert fit(made) == 0
    assert np.isfinite(records(tmp_path / "run", "train")[-1]["loss"])


def test_a_full_disk_leaves_the_results_before_it(root, run, monkeypatch):
    evaluate_run(config(root, run))
    before = (run / "results.json").read_bytes()

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("train.tasks.average_precision.write_whole", full)
        with pytest.raises(OSError, match="No space left"):
            evaluate_run(config(root, run))
    assert (run / "results.json").read_bytes() == before


def test_all_images_bad(tmp_path):
    root = write_coco(tmp_path / "coco")
    for path in (root / "train").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"\.png is no good"):
        fit(config(root, tmp_path / "run", epochs=1))


def test_a_folder_of_another_kind_says_which(tmp_path):
    root = write_yolo(tmp_path / "yolo")
    with pytest.raises(DataError, match=r"looks like one of data\.source yolo"):
        fit(config(root, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("change, match", [
    ({"model": Detector("retinanet_prm_resnet15")}, "retinanet_prm_resnet14"),
    ({"model": dataclasses.replace(MODEL, num_classes=3)}, "has 2 classes"),
    ({"optim": DetectionOptim(milestones=(22, 16))}, "must grow"),
    ({"data": {"crop": 1.5}}, r"data\.crop must be within 0 to 1"),
    ({"data": {"least_size": 900}}, r"data\.least_size .* 1 to data\.size's"),
    ({"model": dataclasses.replace(MODEL, norms="batch", frozen_stages=1)},
     "frozen_stages=1; 0 is needed"),
    ({"model": OWN_NORMS, "parallel": "pmap"}, "statistics of the whole batch"),
], ids=str)  # fmt: skip
def test_wrong_options(root, tmp_path, change, match):
    data = dataclasses.replace(config(root, "").data, **change.pop("data", {}))
    with pytest.raises(ValueError, match=match):
        fit(config(root, tmp_path, **change, data=data))
