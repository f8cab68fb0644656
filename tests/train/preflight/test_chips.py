"""Chips and topologies by name."""

import math

import pytest

from train.preflight.chips import CHIPS, SCALING, parse_topology

DEVICES = {
    "v5e:16x16": 256,
    "v5e:2x2": 4,
    "v6e:2x4": 8,
    "v4:2x2x4": 16,
    "v5p:4x4x8": 128,
    "h100:8": 8,
    "a100:256": 256,
}


@pytest.mark.parametrize("text", DEVICES)
def test_a_topology(text):
    topology = parse_topology(text)
    assert topology.devices == DEVICES[text]
    assert str(topology) == text


def test_a_chip_without_a_description():
    with pytest.raises(ValueError, match=r"Unknown chip 'v5'\. Did you mean 'v5") as e:
        parse_topology("v5:16x16")
    assert all(name in str(e.value) for name in CHIPS)


def test_no_topology():
    with pytest.raises(ValueError, match=r"Unknown chip ''\..* Known: v4, v5e"):
        parse_topology("")


WRONG = [
    "v5e",
    "v5e:",
    "v5e:16",
    "v5e:2x2x2",
    "v5e:0x4",
    "v5e:2x-2",
    "v4:4x4",
    "h100:2x4",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_shape(text):
    with pytest.raises(ValueError, match="numbers with x between them, such as"):
        parse_topology(text)


@pytest.mark.parametrize("name", CHIPS)
def test_a_chip_is_described_in_full(name):
    chip = CHIPS[name]
    assert chip.bf16 >= chip.f32 > 1e13
    assert chip.memory > 1 << 33
    assert chip.bf16 > 10 * chip.bandwidth > 10 * chip.link > 1e11
    assert bool(chip.target) == (chip.kind == "cuda")
    sizes = [parse_topology(f"{name}:{shape}").devices for shape in SCALING[chip.axes]]
    assert sizes == [8, 16, 32, 64, 128, 256]


def test_published_figures():
    """Google's and NVIDIA's: TFLOP/s, GB/s; GiB, of which a card keeps some."""
    figures = {
        name: (chip.bf16 / 1e12, chip.bandwidth / 1e9, math.ceil(chip.memory / 2**30))
        for name, chip in CHIPS.items()
    }
    assert figures == {
        "v4": (275, 1228, 32),
        "v5e": (197, 819, 16),
        "v5p": (459, 2765, 95),
        "v6e": (918, 1640, 32),
        "h100": (pytest.approx(989.4), pytest.approx(3352.32), 80),
        "a100": (312, pytest.approx(2039.04), 80),
    }
