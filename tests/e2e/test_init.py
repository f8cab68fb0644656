"""A run that starts from weights, is resumed, and is used, in that order."""

import pytest
from support.run import REPO, TINY, fit, run, uninterrupted
from support.weights import write_weights

from train.cli import main

OPTIONS = {"num_classes": 10, "stem": "3x3_stride2"}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet14.pth"
    write_weights(path, "resnet14", 1, **OPTIONS)
    return path


@pytest.fixture(scope="module")
def tuned(file, tmp_path_factory):
    """The folder of a run that started from the file, which is gone; its output."""
    folder = tmp_path_factory.mktemp("tuned")
    gone = folder / "gone.pth"
    gone.write_bytes(file.read_bytes())
    flags = "--init", str(gone), "--init.new", "prm,fc"
    done = fit(folder / "run", *flags)
    gone.unlink()
    return folder / "run", flags, done.out


def command(name, workdir, *flags):
    return main([name, str(REPO / TINY), "--workdir", str(workdir), *map(str, flags)])


def test_it_says_what_it_starts_from(tuned):
    _, (_, file, *_), out = tuned
    assert out.startswith(f"weights: {file}, new: prm, fc\n")


def test_it_goes_on_without_the_file(tuned):
    workdir, flags, _ = tuned
    done = fit(workdir, *flags)
    assert "resumed at step 20" in done.out and "weights:" not in done.out


def test_another_start_is_another_run(tuned, file):
    workdir, _, _ = tuned
    for flags in ((), ("--init", file, "--init.new", "prm,fc")):
        done = run("fit", "--workdir", workdir, *flags)
        assert done.code == 2
        assert f"init.file: was '{workdir.parent}/gone.pth', is" in done.err


def test_it_is_used_with_and_without_the_flags_of_its_start(tuned, capsys):
    workdir, flags, _ = tuned
    said = []
    for more in ((), flags):
        assert command("evaluate", workdir, *more) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and said[0].startswith("step 20: 200 images")


def test_a_file_is_used_in_the_place_of_a_run_that_did_not_start_there(
    file, tmp_path, capsys
):
    flags = "--init", file, "--init.new", "prm", "--predict.count", "2"
    picture = "--predict.output", tmp_path / "seen.png"
    assert command("predict", uninterrupted(), *flags, *picture) == 0
    assert capsys.readouterr().out.startswith(
        f"weights: {file}, new: prm\ntest image 0"
    )


def test_without_a_run_the_picture_is_drawn_here(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = "--init", file, "--init.new", "prm", "--predict.count", "2"
    assert command("predict", tmp_path / "none", *flags) == 0
    assert capsys.readouterr().out.endswith("picture of 2: predict.png\n")
    assert [path.name for path in tmp_path.iterdir()] == ["predict.png"]


def test_a_file_is_exported_as_a_run_is(file, tmp_path, capsys):
    plain = "--model.name", "resnet14", "--model.groups", "None"
    output = "--output", tmp_path / "out"
    assert command("export", tmp_path / "none", "--init", file, *plain, *output) == 0
    assert (tmp_path / "out" / "model.safetensors").exists()
