"""What a run leaves: numbers before pictures, and no picture costs a number."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from etils import epath
from markdown_it import MarkdownIt
from PIL import Image

from prm_flax.figures import plots
from prm_flax.printable import markdown
from train import predict, report
from train.config import Config, Data, Model, Predict
from train.tasks.classification import Classification

CLASSES = ("caf\udce9", "$x_1^2$", "a|b*c", "🍋 日本", "two\nlines")
IMAGES = np.zeros((4, 8, 8, 1), np.uint8)
SHARES = np.tile([0.4, 0.3, 0.2, 0.1, 0.0], (4, 1))
RECORD = {"epoch": 1, "loss": 1.25, "top1": 61.5, "top5": 90.0}
# What drawing may raise, and how it is said.
ERRORS = [
    (TypeError("no\nfont"), "TypeError: no\\nfont"),
    (OSError(28, "No space"), "OSError: [Errno 28] No space"),
    (MemoryError(), "MemoryError"),
]


class Numbers:
    """The numbers of a run of an epoch."""

    def of(self, kind):
        return {"train": [RECORD], "test": [RECORD]}.get(kind, [])


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that came to its end, without a network."""
    workdir = tmp_path / "run"
    workdir.mkdir()
    sample = (IMAGES, np.array([0, 1, 2, 3]))
    task = Classification(None, None, class_names=CLASSES)
    experiment = SimpleNamespace(
        task=task,
        workdir=epath.Path(workdir),
        config=Config(name="my <b>|run", model=Model(), data=Data(source="idx")),
        steps=20,
        mesh=SimpleNamespace(size=1),
        input=SimpleNamespace(
            sample=lambda n: (sample[0][:n], sample[1][:n]), class_names=CLASSES
        ),
    )
    experiment.show = lambda state, *given: task.show(None, {}, *given)
    weights = {"test": SimpleNamespace(variables={})}
    monkeypatch.setattr(Classification, "look", lambda *_: (SHARES, {}))
    monkeypatch.setattr(report, "weights_of", lambda state: weights)
    monkeypatch.setattr(report, "parameter_count", lambda experiment: 1234)
    monkeypatch.setattr(
        Classification, "save", lambda task, path, _: path.write_bytes(b"weights")
    )
    return experiment


def finish(experiment):
    report.write_report(experiment, None, Numbers(), seconds=2.0)


def break_drawing(monkeypatch, picture, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(plots, picture, broken)


def pictures_in(folder):
    tokens = MarkdownIt().parse((folder / "report.md").read_text("utf-8"))
    inside = [child for token in tokens for child in token.children or ()]
    return [child.attrs["src"] for child in inside if child.type == "image"]


def test_names_of_any_kind_are_drawn_and_written(run, capsys):
    finish(run)
    assert sorted(path.name for path in run.workdir.iterdir()) == [
        "curves.png",
        "model.safetensors",
        "predictions.png",
        "report.md",
        "result.json",
    ]
    assert pictures_in(run.workdir) == ["curves.png", "predictions.png"]
    for name in pictures_in(run.workdir):
        with Image.open(run.workdir / name) as image:
            image.load()
    text = (run.workdir / "report.md").read_text("utf-8")
    assert text.splitlines()[0] == "# `my <b>|run`"
    assert json.loads((run.workdir / "result.json").read_text())["test_top1"] == 61.5
    assert capsys.readouterr().out == f"report: {run.workdir}/report.md\n" + (
        "test top-1 61.50 %\n"
    )


def test_numbers_come_first_and_pictures_last(run, monkeypatch):
    written = []

    def write(path, data):
        written.append((path.name, data))
        path.write_bytes(data)

    monkeypatch.setattr(report, "write_whole", write)
    finish(run)
    assert [name for name, _ in written] == [
        "model.safetensors",
        "result.json",
        "report.md",
        "curves.png",
        "predictions.png",
        "report.md",
    ]
    before, after = (data.decode() for name, data in written if name == "report.md")
    assert "**61.50 %**" in before and "![" not in before
    assert after.count("![") == 2


@pytest.mark.parametrize("error, why", ERRORS)
@pytest.mark.parametrize("picture", ["curves", "predictions"])
def test_a_picture_that_fails_is_named_and_costs_nothing_else(
    run, monkeypatch, capsys, picture, error, why
):
    with monkeypatch.context() as broken:
        break_drawing(broken, picture, error)
        for _ in range(2):  # and again when the run is started again
            finish(run)
            lines = capsys.readouterr().out.splitlines()
            assert lines[0] == f"{picture}.png could not be drawn: {why}"
            assert lines[-1] == "test top-1 61.50 %"
            found = json.loads((run.workdir / "result.json").read_text())
            assert found["test_top1"] == 61.5
            assert (run.workdir / "model.safetensors").read_bytes() == b"weights"
            text = (run.workdir / "report.md").read_text("utf-8")
            assert f"{picture}.png could not be drawn: {markdown(why)}" in text
            other = {"curves": "predictions", "predictions": "curves"}[picture]
            assert pictures_in(run.workdir) == [f"{other}.png"]
            assert (run.workdir / f"{other}.png").exists()
    finish(run)
    assert pictures_in(run.workdir) == ["curves.png", "predictions.png"]
    assert "could not" not in (run.workdir / "report.md").read_text("utf-8")


def test_images_that_cannot_be_read_again_cost_their_picture_alone(run, capsys):
    run.input.sample = lambda n: CLASSES[n]  # IndexError
    finish(run)
    assert "predictions.png could not be drawn: IndexError" in capsys.readouterr().out
    assert pictures_in(run.workdir) == ["curves.png"]


def test_a_run_that_is_ended_while_it_draws_has_its_report(run, monkeypatch):
    break_drawing(monkeypatch, "curves", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        finish(run)
    assert "**61.50 %**" in (run.workdir / "report.md").read_text("utf-8")
    assert pictures_in(run.workdir) == []
    assert (run.workdir / "result.json").exists()


@pytest.fixture
def asked(run, monkeypatch, tmp_path):
    """Asks the run for the classes of test images; its exit code."""
    monkeypatch.setattr(predict, "open_trained", lambda config, images: run)
    monkeypatch.setattr(predict, "restore", lambda experiment: None)

    def ask(picture="seen.png"):
        what = Predict(count=4, output=str(tmp_path / picture))
        return predict.predict(run.config, what)

    return ask


def test_predict_shows_names_of_any_kind(asked, capsys, tmp_path):
    assert asked() == 0
    *classes, picture = capsys.readouterr().out.splitlines()
    best = "caf\\xe9 40.0 %, $x_1^2$ 30.0 %, a|b*c 20.0 %, 🍋 日本 10.0 %, two\\nlines"
    assert classes == [f"test image {i}: {best} 0.0 %" for i in range(4)]
    assert picture == f"picture of 4: {tmp_path}/seen.png"
    assert (tmp_path / "seen.png").exists()


@pytest.mark.parametrize("error, why", ERRORS)
def test_predict_without_its_picture_says_the_classes_and_fails(
    asked, monkeypatch, capsys, tmp_path, error, why
):
    break_drawing(monkeypatch, "predictions", error)
    assert asked() == 1
    *classes, last = capsys.readouterr().out.splitlines()
    assert len(classes) == 4 and classes[0].startswith("test image 0: caf\\xe9 40.0 %")
    assert last == f"{tmp_path}/seen.png could not be drawn: {why}"


def test_predict_refuses_another_ending_before_it_computes(asked, capsys):
    with pytest.raises(ValueError, match=r"must end in \.png"):
        asked("seen.jpg")
    assert capsys.readouterr().out == ""
