"""A folder belongs to the run whose numbers it holds."""

import dataclasses
import json

import pytest

from train.config import Config, Data, Init, Model, Optim
from train.workdir.lock import WorkdirError
from train.workdir.same_config import (
    FREE_TO_USE,
    check_fields,
    started_from,
    write_config,
)

CONFIG = Config(name="run")


def changed(path, value):
    """CONFIG with another value at "part.field"."""
    part, _, field = path.rpartition(".")
    if not part:
        return dataclasses.replace(CONFIG, **{field: value})
    inner = dataclasses.replace(getattr(CONFIG, part), **{field: value})
    return dataclasses.replace(CONFIG, **{part: inner})


TRAINING = {
    "name": "other",
    "epochs": 7,
    "batch_size": 8,
    "seed": 1,
    "optim.peak_lr": 0.7,
    "optim.nesterov": True,
    "data.source": "fake",
    "data.crop_padding": 2,
    "data.flip": True,
    "data.crop_area": (0.2, 1.0),
    "data.mixup": 0.2,
    "data.randaugment": 2,
    "optim.ema": 0.9,
    "model.remat": True,
    "init.file": "other.pth",
    "init.weights": "average",
    "init.new": ("prm",),
}
NETWORK = {
    "model.name": "resnet20",
    "model.groups": 4,
    "data.image_size": 160,
    "data.eval_resize": 300,
    "model.ddof": 1,
    "model.dtype": "bfloat16",
    "data.mean": (0.1, 0.2),
}
FREE = {
    "checkpoint.every_steps": 7,
    "checkpoint.every_minutes": 7.0,
    "checkpoint.keep": 9,
    "checkpoint.best": False,
    "log.every_steps": 7,
    "log.tensorboard": True,
    "workdir": "elsewhere",
    "eval_batch_size": 7,
    "profile": 7,
    "parallel": "pmap",
    "distributed": True,
    "coordinator": "node1:12321",
    "processes": 7,
    "process_id": 7,
    "startup_seconds": 7,
    "heartbeat_seconds": 7,
    "data.prefetch": 7,
    "data.workers": 7,
    "data.on_bad_image": "skip",
    "data.max_image_pixels": 7,
    "data.root": "elsewhere",
}


def test_the_same_config_may_go_on(tmp_path):
    write_config(tmp_path, CONFIG)
    write_config(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_every_field_is_written(tmp_path):
    write_config(tmp_path, CONFIG)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["name"] == "run"
    assert written["data.mean"] == [0.5]
    for part, kind in (("model", Model), ("data", Data), ("optim", Optim)):
        assert {f"{part}.{f.name}" for f in dataclasses.fields(kind)} <= written.keys()


@pytest.mark.parametrize("path, value", [*TRAINING.items(), *NETWORK.items()])
def test_a_field_that_changes_the_numbers_is_refused(tmp_path, path, value):
    write_config(tmp_path, CONFIG)
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(WorkdirError, match=rf"\({path}: was .*, is .*\)"):
        write_config(tmp_path, changed(path, value))
    assert (tmp_path / "config.json").read_text() == before


@pytest.mark.parametrize("path, value", FREE.items())
def test_a_field_that_changes_none_is_free(tmp_path, path, value):
    write_config(tmp_path, CONFIG)
    write_config(tmp_path, changed(path, value))
    check_fields(tmp_path, changed(path, value), free=())


@pytest.mark.parametrize(
    "schedule, epochs, allowed",
    [("step", 101, True), ("step", 99, False), ("cosine", 101, False)],
)
def test_more_epochs_where_the_schedule_does_not_look_at_the_end(
    tmp_path, schedule, epochs, allowed
):
    before = dataclasses.replace(CONFIG, optim=Optim(schedule=schedule))
    write_config(tmp_path, before)
    longer = dataclasses.replace(before, epochs=epochs)
    if allowed:
        write_config(tmp_path, longer)
        check_fields(tmp_path, longer, free=())
        return
    with pytest.raises(WorkdirError, match=rf"\(epochs: was 100, is {epochs}\)"):
        write_config(tmp_path, longer)


@pytest.mark.parametrize("path, value", [*TRAINING.items(), *FREE.items()])
def test_a_trained_network_is_used_whatever_trained_it(tmp_path, path, value):
    write_config(tmp_path, CONFIG)
    check_fields(tmp_path, changed(path, value), FREE_TO_USE)


@pytest.mark.parametrize("path, value", NETWORK.items())
def test_another_network_is_not_used(tmp_path, path, value):
    write_config(tmp_path, CONFIG)
    with pytest.raises(WorkdirError, match=path):
        check_fields(tmp_path, changed(path, value), FREE_TO_USE)


def test_all_differences_are_named(tmp_path):
    write_config(tmp_path, CONFIG)
    other = dataclasses.replace(changed("optim.peak_lr", 0.7), seed=3)
    with pytest.raises(WorkdirError) as caught:
        write_config(tmp_path, other)
    message = str(caught.value)
    assert "optim.peak_lr: was 0.1, is 0.7; seed: was 0, is 3" in message


def test_of_two_networks_both_are_named_with_the_fix(tmp_path):
    write_config(tmp_path, CONFIG)
    with pytest.raises(WorkdirError) as caught:
        check_fields(tmp_path, changed("model.name", "resnet20"), FREE_TO_USE)
    assert str(caught.value).endswith(
        "(model.name: was 'prm_resnet14', is 'resnet20'). It is a run of prm_resnet14, "
        "named run: give its config, or another --workdir, of a run of resnet20."
    )


@pytest.mark.parametrize(
    "content, words", [('{"name": ', "damaged"), ("[1, 2]", r"no run's: \[1, 2\]")]
)
def test_a_damaged_file_is_an_error(tmp_path, content, words):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(WorkdirError, match=words):
        write_config(tmp_path, CONFIG)


def test_a_folder_without_a_config_fits_any(tmp_path):
    check_fields(tmp_path, CONFIG, free=())


def test_a_field_that_came_later_had_its_default(tmp_path):
    write_config(tmp_path, CONFIG)
    path = tmp_path / "config.json"
    earlier = json.loads(path.read_text())
    del earlier["optim.ema"]
    path.write_text(json.dumps(earlier))
    with pytest.raises(WorkdirError, match=r"optim\.ema: was 0\.0, is 0\.9"):
        write_config(tmp_path, changed("optim.ema", 0.9))
    write_config(tmp_path, CONFIG)


def test_the_start_of_a_run_is_file_weights_and_new_parts(tmp_path):
    init = Init("a.pth", ("prm",))
    write_config(tmp_path, dataclasses.replace(CONFIG, init=init))
    assert started_from(tmp_path, dataclasses.replace(CONFIG, init=init))
    for other in (Init(), Init("b.pth", ("prm",)), Init("a.pth", ("prm",), "average")):
        assert not started_from(tmp_path, dataclasses.replace(CONFIG, init=other))


def test_a_run_from_before_there_were_averages_started_from_raw_weights(tmp_path):
    init = dataclasses.replace(CONFIG, init=Init("a.pth"))
    write_config(tmp_path, init)
    written = json.loads((tmp_path / "config.json").read_text())
    del written["init.weights"]
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert started_from(tmp_path, init)
    write_config(tmp_path, init)
