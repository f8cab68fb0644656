"""The numbers of a run on disk."""

import importlib.util
import json
import math
import sys

import pytest

from train.scalars import Scalars, read


def record(step, kind="train", **numbers):
    return {"kind": kind, "step": step, **numbers}


def test_what_is_written_is_read(tmp_path):
    written = [record(2, loss=0.1), record(4, "test", top1=12.5)]
    scalars = Scalars(tmp_path, 0)
    for each in written:
        scalars.write(each)
    assert read(tmp_path / "scalars.jsonl") == scalars.records == written
    assert scalars.of("test") == written[1:]


def test_every_record_is_on_disk_at_once(tmp_path):
    scalars = Scalars(tmp_path, 0)
    for step in range(3):
        scalars.write(record(step))
        assert len(read(tmp_path / "scalars.jsonl")) == step + 1


def test_a_resumed_run_drops_the_later_records(tmp_path):
    scalars = Scalars(tmp_path, 0)
    for step in (2, 4, 6):
        scalars.write(record(step))
    resumed = Scalars(tmp_path, 4)
    assert resumed.records == [record(2), record(4)]
    resumed.write(record(6, loss=1.0))
    assert read(tmp_path / "scalars.jsonl")[2:] == [record(6, loss=1.0)]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path):
    Scalars(tmp_path, 0).write(record(2))
    with open(tmp_path / "scalars.jsonl", "a") as file:
        file.write('{"kind": "train", "st')
    resumed = Scalars(tmp_path, 9)
    resumed.write(record(4))
    assert read(tmp_path / "scalars.jsonl") == [record(2), record(4)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_file_is_json_even_without_a_number(tmp_path, value):
    Scalars(tmp_path, 0).write(record(2, loss=value))

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    line = (tmp_path / "scalars.jsonl").read_text()
    assert json.loads(line, parse_constant=refuse)["loss"] is None


def test_no_file_has_no_records(tmp_path):
    assert read(tmp_path / "scalars.jsonl") == []


def test_tensorboard_files_are_written_if_asked(tmp_path):
    if importlib.util.find_spec("tensorboardX") is None:
        pytest.skip("tensorboardX is not installed: the extra [tensorboard]")
    scalars = Scalars(tmp_path, 0, tensorboard=True)
    scalars.write(record(2, loss=0.5))
    scalars.tensorboard.close()  # as the end of the program does
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()


def test_tensorboard_without_its_package_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ValueError, match=r"pip install 'prm-flax\[tensorboard\]'"):
        Scalars(tmp_path, 0, tensorboard=True)
