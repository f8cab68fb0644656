"""Accuracy against heads: which runs go together, and what is drawn of them."""

import dataclasses
import json
from itertools import chain

import numpy as np
import pytest
from etils import epath

from prm_flax.figures import accuracy
from prm_flax.figures.__main__ import main
from prm_flax.figures.accuracy import by_heads
from prm_flax.runs import Run, read_config
from train.config import Config, Data, Model
from train.workdir.lock import WorkdirError
from train.workdir.same_config import check_config_of_run, write_config


def run(folder, top1, name="prm_resnet14", groups=None, data=None, **changed):
    """A run; options are named with _ for the first dot."""
    config = {"model.name": name, "model.groups": groups, "data.source": "fake"}
    config |= {"seed": 0, "epochs": 4, "batch_size": 80, "data.root": None}
    config |= {key.replace("_", ".", 1): value for key, value in changed.items()}
    result = {"model": name, "test_top1": top1, "steps": 40, "parameters": 175_180}
    source, counts = config["data.source"], (config["epochs"], 80, 40, 175_180)
    return Run(folder, config, result, data, name, source, *counts, {"top1": top1})


RUNS = [
    run("a", 91.0, groups=4),
    run("b", 92.0, groups=4, seed=1),
    run("c", 93.0, groups=16),
    run("d", 92.5),
    run("e", 90.0, "resnet14"),
    run("f", 90.5, "resnet14", seed=1, log_tensorboard=True),
]


def test_runs_are_sorted_by_heads_and_unset_heads_are_the_networks_own():
    found = by_heads(RUNS[::-1])
    assert list(found.by_heads) == [4, 16, 64]
    assert found.by_heads == {4: [92.0, 91.0], 16: [93.0], 64: [92.5]}
    assert (found.network, found.plain) == ("resnet14", [90.5, 90.0])
    mobile = run("m", 71.0, "prm_mobilenet_v2")
    assert list(by_heads([mobile]).by_heads) == [8]


@pytest.mark.parametrize(
    ("source", "root", "name"),
    [
        ("fashion_mnist", "/data/there", "Fashion-MNIST"),
        ("imagenet2012", None, "ImageNet"),
        ("image_folder", "/data/cells", "image_folder cells"),
        ("fake", None, "fake"),
    ],
)
def test_the_data_set_has_a_name(source, root, name):
    found = by_heads([run("a", 1.0, data_source=source, data_root=root)])
    assert found.dataset == name


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (run("x", 1.0, data_source="fashion_mnist"), "one data set: a is of fake, x"),
        (run("x", 1.0, data_root="/data/cells"), "one data set: .* x of fake cells"),
        (run("x", 1.0, "prm_resnet20"), "one network: .* x of resnet20. Draw"),
        (run("x", 1.0, "se_resnet14"), "with PRM and without: x is of se_resnet14"),
        (run("x", 1.0, epochs=5), "heads and seed only.*epochs is 4 in a and 5 in x"),
    ],
)
def test_runs_that_do_not_go_together_are_refused(more, words):
    with pytest.raises(ValueError, match=words):
        by_heads([*RUNS, more])


def leaves(config, prefix=""):
    """Every option of a config by its dotted name."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def other(value):
    """Another value that an option may have."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else "another"


def with_option(config, option, value):
    """The config with another value of an option."""
    first, _, rest = option.partition(".")
    inner = with_option(getattr(config, first), rest, value) if rest else value
    return dataclasses.replace(config, **{first: inner})


CONFIG = Config("run", Model("prm_resnet14"), Data("fashion_mnist"))
# What the figure is for; the network's name decides what is drawn, see above.
ITS_OWN = {"seed", "name", "model.remat", "model.groups", "model.name"}


@pytest.mark.parametrize(("option", "value"), list(leaves(CONFIG)))
def test_runs_that_fit_calls_equal_go_together(tmp_path, option, value):
    workdir, changed = epath.Path(tmp_path), other(value)
    write_config(workdir, CONFIG)
    found = read_config(tmp_path)
    one, two = (run(name, 1.0, data_source="fashion_mnist") for name in "ab")
    runs = [one._replace(config=found), two._replace(config=found | {option: changed})]
    try:
        check_config_of_run(workdir, with_option(CONFIG, option, changed))
    except WorkdirError:
        if option not in ITS_OWN:
            with pytest.raises(ValueError, match=f"heads and seed only.*{option} is"):
                by_heads(runs)
            return
    if option == "model.groups":
        runs[1].config[option] = 8
    assert [*chain(*by_heads(runs).by_heads.values())] == [1.0, 1.0]


def test_the_same_images_elsewhere_are_the_same_data_set():
    images = {"train": {"images": 9, "digest": "a"}, "test": {"images": 3}}
    here, there, unlike = (
        run(name, 1.0, data_source="image_folder", data_root=root, data=data)
        for name, root, data in [
            ("a", "/data/cells", images),
            ("b", "/mnt/copy", images),
            ("c", "/mnt/more", images | {"test": {"images": 4}}),
        ]
    )
    assert by_heads([here, there]).dataset == "image_folder cells"
    with pytest.raises(ValueError, match="a is of image_folder cells, c of image_f"):
        by_heads([here, unlike])


def test_plain_runs_alone_are_refused():
    with pytest.raises(ValueError, match=r"one run must have PRM; .* of prm_resnet14"):
        by_heads(RUNS[4:])


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    monkeypatch.setattr(accuracy, "save", lambda figure, path: figures.append(figure))
    return figures


def test_every_run_is_a_point_and_the_line_goes_through_the_means(drawn):
    accuracy.draw_accuracy("a.png", by_heads(RUNS))
    (axes,) = drawn[0].axes
    line, *rest, plain = axes.get_lines()
    assert line.get_xydata().tolist() == [[4, 91.5], [16, 93], [64, 92.5]]
    points = [p for mark in rest if mark.get_marker() == "o" for p in mark.get_xydata()]
    assert np.array(points).tolist() == [[4, 91], [4, 92], [16, 93], [64, 92.5]]
    assert list(plain.get_ydata()) == [90.25, 90.25]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["4", "16", "64"]
    assert axes.get_ylabel() == "top-1 accuracy on fake, %"
    words = {text.get_text(): text for text in axes.texts}
    assert set(words) == {"prm_resnet14", "resnet14\nwithout PRM"}


@pytest.mark.parametrize("plain", [91.4, 91.6])
def test_names_of_lines_that_lie_close_are_apart(drawn, plain):
    runs = [*RUNS[:2], run("e", plain, "resnet14")]
    accuracy.draw_accuracy("a.png", by_heads(runs))
    drawn[0].canvas.draw()
    one, two = (t.get_window_extent() for t in drawn[0].axes[0].texts)
    assert not one.count_overlaps([two])


def write(folder, made):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(made.config))
    (folder / "result.json").write_text(json.dumps(made.result))
    return str(folder)


def test_the_command_says_the_numbers_and_draws(tmp_path, capsys):
    folders = [write(tmp_path / made.folder, made) for made in RUNS]
    picture = tmp_path / "accuracy.png"
    assert main(["accuracy", str(picture), *folders]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "prm_resnet14, g = 4: top-1 91.50 % on fake, 2 runs, 91.00 to 92.00 %",
        "prm_resnet14, g = 16: top-1 93.00 % on fake",
        "prm_resnet14, g = 64: top-1 92.50 % on fake",
        "resnet14: top-1 90.25 % on fake, 2 runs, 90.00 to 90.50 %",
        f"picture: {picture}",
    ]
    assert picture.stat().st_size > 5000


def test_what_is_no_finished_run_is_refused(tmp_path, capsys):
    folder = tmp_path / "run"
    write(folder, RUNS[0])
    picture = tmp_path / "accuracy.png"

    def error():
        assert main(["accuracy", str(picture), str(folder)]) == 2
        assert not picture.exists()
        return capsys.readouterr().err

    (folder / "result.json").write_text('{"model": "prm_resnet14", "steps": 1}')
    assert "result.json must have 'parameters'" in error()
    (folder / "result.json").write_text("[]")
    assert "must be a JSON object, got a list" in error()
    (folder / "result.json").write_text("{")
    assert "result.json must be a JSON file" in error()
    (folder / "result.json").unlink()
    assert "has config.json and result.json" in error()
    folder = tmp_path / "none"
    assert "none is no folder" in error()
