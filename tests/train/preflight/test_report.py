"""What `preflight` says and writes, and when; its compiler is a formula here."""

import dataclasses
import json

import pytest
from support.run import REPO, TINY

from train.cli import load_config
from train.config import Preflight
from train.preflight import command as module
from train.preflight.chips import parse_topology
from train.preflight.command import REMEDIES, preflight
from train.preflight.estimate import Estimate, Memory

GIB = 1 << 30


class Compiler:
    """Needs 1 GiB and 1/16 GiB an image; stops after so many programs."""

    def __init__(self, stops_after=99):
        self.left, self.compiled = stops_after, []

    def __call__(self, config, topology, batch):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.compiled.append((str(topology), batch))
        memory = Memory(GIB, batch * GIB // 16, 0)
        fits = memory.total <= topology.chip.memory
        return Estimate(
            topology=str(topology),
            devices=topology.devices,
            per_device_batch=batch,
            fits=fits,
            memory_bytes=memory.total,
            memory=memory if fits else None,
            chip_memory_bytes=topology.chip.memory,
            flops=batch * 10**9,
            traffic_bytes=10**9 if fits else None,
            collectives={} if fits else None,
            collective_bytes=10**6 if fits else None,
            bounds={"arithmetic": 0.5} if fits else None,
            step_seconds_bound=0.5 if fits else None,
            epoch_seconds_bound=5.0 if fits else None,
            steps_per_epoch=10,
        )


@pytest.fixture
def checked(monkeypatch, tmp_path, capsys):
    """Runs `preflight`; its code, its text and its file."""

    def run(compiler, **options):
        monkeypatch.setattr(module, "prepare", lambda topology: None)
        monkeypatch.setattr(module, "_try", compiler)
        config = load_config(REPO / TINY)
        config = dataclasses.replace(
            config, model=dataclasses.replace(config.model, batch_norm=4)
        )
        file = tmp_path / "numbers.json"
        code = None
        try:
            code = preflight(config, Preflight(json=str(file), **options))
        except KeyboardInterrupt:
            pass
        return code, capsys.readouterr().out, json.loads(file.read_text())

    return run


def test_what_fits(checked):
    code, text, numbers = checked(Compiler(), topology="v5e:2x2", per_device_batch=8)
    assert code == 0
    assert "1.50 GiB of 16.00 GiB: fits" in text
    assert "note" not in text and REMEDIES not in text
    assert numbers["fits"] and "largest_batch" not in numbers


def test_what_does_not_fit_is_told_what_would(checked):
    compiler = Compiler()
    code, text, numbers = checked(compiler, topology="v5e:2x2", per_device_batch=4096)
    assert code == 1
    assert "DOES NOT FIT" in text and REMEDIES in text
    # 227 images take 15.2 GiB; whole runs of four lie on a device.
    assert numbers["largest_batch"] == 224
    assert "would fit         --per-device-batch 224, compiled" in text
    assert [batch for _, batch in compiler.compiled] == [4096, 120, 224]


def test_the_answer_is_there_when_the_search_is_cut_short(checked):
    code, text, numbers = checked(
        Compiler(stops_after=1), topology="v5e:2x2", per_device_batch=4096
    )
    assert code is None
    assert "DOES NOT FIT" in text and REMEDIES in text
    assert (numbers["fits"], numbers["per_device_batch"]) == (False, 4096)
    assert "largest_batch" not in numbers


def test_the_largest_batch_on_request(checked):
    options = {"per_device_batch": 8, "largest_batch": True}
    code, text, numbers = checked(Compiler(), topology="v5e:2x2", **options)
    # Ten steps of 8 images are an epoch: more images there are not.
    assert (code, numbers["largest_batch"]) == (0, 80)
    assert "80 images 6.00 GiB, fits" in text and REMEDIES not in text


def test_scaling_keeps_each_row_and_compiles_the_asked_one_once(checked):
    compiler = Compiler(stops_after=3)
    options = {"per_device_batch": 8, "scaling": True}
    _, text, numbers = checked(compiler, topology="v5e:4x4", **options)
    names = ["v5e:4x4", "v5e:2x4", "v5e:4x8"]
    assert [name for name, _ in compiler.compiled] == names
    assert [each["devices"] for each in numbers["scaling"]] == [8, 16, 32]
    assert "   16         1.50        1.000            1.000          500.00" in text


def test_what_does_not_fit_is_not_scaled(checked):
    options = {"per_device_batch": 4096, "scaling": True}
    _, _, numbers = checked(Compiler(), topology="v5e:4x4", **options)
    assert "scaling" not in numbers


HINTS = {
    "h100:8, 1200": "XLA_PYTHON_CLIENT_MEM_FRACTION=0.99",
    "v5e:2x2, 10": "multiples of 4 need less memory",
}


@pytest.mark.parametrize("what", HINTS)
def test_hints(checked, what):
    topology, batch = what.split(", ")
    assert parse_topology(topology)
    _, text, _ = checked(Compiler(), topology=topology, per_device_batch=int(batch))
    assert HINTS[what] in text


@pytest.mark.parametrize("name", ["", "nowhere/numbers.json"])
def test_a_file_that_cannot_be_written_is_found_before_compiling(name, tmp_path):
    options = Preflight("v5e:2x2", per_device_batch=8, json=str(tmp_path / name))
    with pytest.raises(ValueError, match="a file's name in a folder that exists, got"):
        preflight(load_config(REPO / TINY), options)
