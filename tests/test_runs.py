"""A run's folder is read whole and strictly, by one reader; equal runs by one list."""

import json

import pytest
from support.paper_runs import STEPS, finished, imagenet

from prm_flax.runs import MOST_BYTES, MOST_BYTES_OF_DATA, is_free, read_config, read_run

PLAIN = imagenet("resnet18")


def test_a_run_says_what_it_is(tmp_path):
    config = imagenet("prm_resnet18")
    folder = finished(tmp_path / "run", config, top1=70.25, top5=89.125)
    found = read_run(folder)
    assert found.folder == folder and found.data is None
    assert (found.model, found.source) == ("prm_resnet18", "imagenet2012")
    assert found[6:10] == (100, 256, 100 * STEPS, 11691584)
    assert found.scores == {"top1": 70.25, "top5": 89.125}
    assert found.config["optim.peak_lr"] == config.optim.peak_lr
    assert found.result["name"] == config.name


def test_what_a_run_was_trained_on_belongs_to_it(tmp_path):
    folder = tmp_path / "run"
    finished(folder, PLAIN)
    (folder / "data.json").write_text(json.dumps({"class_names": ["a", "b"]}))
    assert read_run(folder).data == {"class_names": ["a", "b"]}
    (folder / "data.json").write_bytes(b" " * (MOST_BYTES_OF_DATA + 1))
    with pytest.raises(ValueError, match="at most 16,777,216 bytes"):
        read_run(folder)


def test_a_run_from_before_top_5_was_written_down_has_none(tmp_path):
    run = read_run(finished(tmp_path / "run", PLAIN, top1=70, top5=None))
    assert run.scores == {"top1": 70}


def test_a_detector_has_average_precisions_but_for_those_of_nothing(tmp_path):
    folder = finished(
        tmp_path / "run",
        PLAIN,
        None,
        None,
        test_AP=37.7,
        test_AP50=58,
        test_AP_small=-1,
    )
    assert read_run(folder).scores == {"AP": 37.7, "AP50": 58}


def test_a_run_that_has_not_ended_has_a_config(tmp_path):
    folder = tmp_path / "run"
    finished(folder, PLAIN)
    (folder / "result.json").unlink()
    assert read_config(folder)["model.name"] == "resnet18"


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"and result\.json: .*none is no folder"):
        read_run(tmp_path / "none")


RESULT = "result.json"
DAMAGE = {
    "no result": (RESULT, None, "result.json is not there. `python -m train fit`"),
    "no config": ("config.json", None, "config.json is not there"),
    "not JSON": (RESULT, b"{", "must be a JSON file"),
    "not text": (RESULT, b"\xff\xfe\x00", "must be a JSON file"),
    "a pickle": ("config.json", b"\x80\x04N.", "must be a JSON file"),
    "too deep": (RESULT, b"[" * 100_000, "must be a JSON file"),
    "too large": (RESULT, b" " * (MOST_BYTES + 1), "at most 1,048,576 bytes"),
    "a list": (RESULT, b"[]", "must be a JSON object, got a list"),
    "a file of something else": ("config.json", b"{}", "must have 'model.name'"),
    "a folder": (RESULT, "a folder", "result.json is not there"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_folder_that_is_no_run_is_refused(tmp_path, what):
    name, content, words = DAMAGE[what]
    folder = tmp_path / "run"
    finished(folder, PLAIN)
    if content is None:
        (folder / name).unlink()
    elif content == "a folder":
        (folder / name).unlink()
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_run(str(folder))


VALUES = {
    "test_top1": [101, -1, True, "90", float("nan"), float("inf")],
    "test_top5": [101, "90"],
    "parameters": [1.5, 0, True, "many"],
    "steps": [0, "many"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, v) for name, values in VALUES.items() for v in values]
)
def test_a_value_that_no_run_writes_is_refused(tmp_path, name, value):
    folder = finished(tmp_path / "run", PLAIN, **{name: value})
    with pytest.raises(ValueError, match=f"result.json must have '{name}'"):
        read_run(folder)


def test_files_of_two_runs_are_refused(tmp_path):
    folder = finished(tmp_path / "run", PLAIN, model="resnet34")
    with pytest.raises(ValueError, match=r"of one network: .*'resnet18'.*'resnet34'"):
        read_run(folder)


def test_options_are_free_by_name_or_by_the_part_they_are_of():
    assert is_free("checkpoint.keep") and is_free("profile")
    assert not is_free("profiled") and not is_free("checkpoint")
    assert is_free("seed", ("seed",)) and not is_free("log.every_steps", ("seed",))
