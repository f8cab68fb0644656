"""The whole program on a small ImageNet in its real formats."""

import signal

import pytest
from support.imagenet import photos, write_folder, write_tfds
from support.run import (
    assert_same_run,
    end,
    fit,
    records,
    result,
    run,
    saved_steps,
    scratch,
    start,
    wait_until,
)

CONFIG = "tests/e2e/tiny_imagenet.py"
TRAIN, VAL = 320, 100


@pytest.fixture(scope="module")
def roots():
    """Format -> its folder, all of the same images."""
    images = photos(TRAIN, seed=3), photos(VAL, seed=3, val=True)
    made = {}
    for name in ("array_record", "tfrecord"):
        made[name] = scratch() / name
        write_tfds(made[name], *images, file_format=name)
    made["folder"] = scratch() / "folder"
    write_folder(made["folder"], *images)
    return made


@pytest.fixture(scope="module")
def undisturbed(roots):
    """The folder of a run on ArrayRecord files with two workers, and what it said."""
    workdir = scratch() / "imagenet"
    done = fit(workdir, "--data.root", roots["array_record"], config=CONFIG)
    return workdir, done.out


def test_it_learned(undisturbed):
    """Chance is 10 %."""
    workdir, out = undisturbed
    assert result(workdir)["test_top1"] > 25
    assert out.splitlines()[-1] == f"test top-1 {result(workdir)['test_top1']:.2f} %"


def test_every_test_image_counted_once(undisturbed):
    kinds = [(r["kind"], r["images"]) for r in records(undisturbed[0]) if "images" in r]
    assert kinds == [("test", VAL), ("ema", VAL)] * 2


def test_the_average_is_measured_and_kept_too(undisturbed):
    workdir, out = undisturbed
    assert f"ema top-1 {result(workdir)['ema_top1']:.2f} %" in out
    assert (workdir / "model_ema.safetensors").exists()
    assert "Moving average of the weights" in (workdir / "report.md").read_text()


def test_waiting_for_input_is_on_record(undisturbed):
    lines = (undisturbed[0] / "scalars.jsonl").read_text()
    assert '"input_wait": 0.' in lines and '"skipped_images": 0' in lines


def test_killed_and_resumed_with_other_workers_on_another_format(
    tmp_path, roots, undisturbed
):
    """Nothing of the input is saved, so nothing of it matters but the step."""
    other = "--data.root", str(roots["tfrecord"]), "--data.workers"
    process = start("fit", "--workdir", tmp_path, *other, "0", config=CONFIG)
    wait_until(lambda: any(step >= 6 for step in saved_steps(tmp_path)), process)
    process.kill()
    assert end(process).code == -signal.SIGKILL
    done = fit(tmp_path, *other, "1", config=CONFIG)
    assert "resumed at step" in done.out
    assert_same_run(tmp_path, undisturbed[0])


@pytest.mark.slow  # a resumed run reads the other format, too
def test_folders_give_the_same_run(tmp_path, roots, undisturbed):
    flags = "--data.source", "image_folder", "--data.root", str(roots["folder"])
    fit(tmp_path, *flags, config=CONFIG)
    assert_same_run(tmp_path, undisturbed[0])


@pytest.mark.parametrize(
    "name", [pytest.param("tfrecord", marks=pytest.mark.slow), "folder"]
)
def test_evaluate_on_any_format_prints_the_same(name, roots, undisturbed):
    workdir, out = undisturbed
    source = {"tfrecord": "imagenet2012", "folder": "image_folder"}[name]
    flags = "--data.source", source, "--data.root", roots[name]
    done = run("evaluate", "--workdir", workdir, *flags, config=CONFIG)
    assert done.code == 0, done.err
    said = done.out.splitlines()
    assert said[0] == "100 test images, of other files than the run's 100"
    assert said[2] == out.splitlines()[-1]
    assert said[4] == f"ema top-1 {result(workdir)['ema_top1']:.2f} %"


def test_predict_a_photo(tmp_path, roots, undisturbed):
    photo = min((roots["folder"] / "val").rglob("*.JPEG"))
    flags = "--data.root", roots["array_record"], "--predict.images", photo
    picture = tmp_path / "seen.png"
    done = run(
        *("predict", "--workdir", undisturbed[0], *flags),
        *("--predict.output", picture),
        config=CONFIG,
    )
    assert done.code == 0, done.err
    assert done.out.startswith(f"{photo}: n0") and picture.exists()


def spoil(root):
    """A training image that is cut in half; its name."""
    path = min((root / "train").rglob("*.JPEG"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path.name


def test_a_bad_image_ends_the_run_unless_it_may_be_skipped(tmp_path):
    root, workdir = tmp_path / "data", tmp_path / "run"
    write_folder(root, photos(TRAIN, seed=3), photos(VAL, seed=3, val=True))
    name = spoil(root)
    flags = "--data.source", "image_folder", "--data.root", str(root)
    failed = run("fit", "--workdir", workdir, *flags, config=CONFIG)
    assert failed.code == 1
    (said,) = [line for line in failed.err.splitlines() if line.startswith("error: ")]
    assert f"{name} cannot be decoded" in said
    assert "--data.on-bad-image skip" in said

    skip = "--data.on-bad-image", "skip", "--epochs", "1"
    done = fit(tmp_path / "skip", *flags, *skip, config=CONFIG)
    assert f"skipped {root}/train/n01440764/{name}: " in done.err
    assert records(tmp_path / "skip")[-3]["skipped_images"] == 1
