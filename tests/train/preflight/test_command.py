"""`preflight` as it is started, and for a TPU and a GPU where their compilers are."""

import json

import pytest
from support.run import TINY, run

from train.preflight.chips import parse_topology
from train.preflight.compile import COMPILERS, _installed

SMALL = "configs/fashion_mnist/prm_resnet14.py"
KEYS = {
    "devices", "per_device_batch", "fits", "memory_bytes", "chip_memory_bytes", "flops",
    "traffic_bytes", "collective_bytes", "step_seconds_bound",
}  # fmt: skip
# Of the network's 175,884 parameters, and of statistics and metrics.
EXCHANGED = (4 * 175_884, 4 * 185_000)


@pytest.mark.parametrize("topology", ["v5e:2x2", "h100:4"])
def test_a_small_network(topology, tmp_path):
    package = COMPILERS[parse_topology(topology).chip.kind]
    if not _installed(package):
        pytest.skip(f"{package} is not installed: pip install '.[preflight]'")
    file = tmp_path / "numbers.json"
    flags = ["--topology", topology, "--per-device-batch", 16, "--json", file]
    ended = run("preflight", *flags, config=SMALL)
    assert ended.code == 0, ended.err
    found = json.loads(file.read_text())
    assert found.keys() >= KEYS
    assert (found["devices"], found["per_device_batch"]) == (4, 16)
    assert found["fits"] and found["memory_bytes"] < found["chip_memory_bytes"] / 100
    # Forward, and backward twice as much; padding and the images' gradient aside. A
    # TPU's kernels sum over groups by products, which count too.
    most = {"v5e:2x2": 1.25, "h100:4": 1}[topology]
    assert 0.75 < found["flops"] / (16 * 3 * 2 * 5_537_984) < most
    assert EXCHANGED[0] < found["collective_bytes"] < EXCHANGED[1]
    chip = parse_topology(topology).chip
    # At least the state is read and written, and the images are read.
    assert found["traffic_bytes"] > 2 * 2 * 4 * 175_884 + 16 * 28 * 28
    assert found["step_seconds_bound"] == max(
        found["flops"] / chip.f32,
        found["traffic_bytes"] / chip.bandwidth,
        found["collective_bytes"] / chip.link,
    )
    assert found["epoch_seconds_bound"] == 937 * found["step_seconds_bound"]
    for words in ("devices           4", "per-device batch  16", "fits", "a step"):
        assert words in ended.out


WRONG = {
    "no topology": ([], "Unknown chip ''. Known: v4, v5e"),
    "chip": (["--topology", "v5x:4x4"], "Unknown chip 'v5x'. Did you mean 'v5"),
    "shape": (["--topology", "v5e:4"], "v5e: and 2 numbers"),
    "batch": (["--topology", "v5e:16x16"], "batch_size 64 does not divide among 256"),
    "no images": (
        ["--topology", "h100:8", "--per-device-batch", "0"],
        "per_device_batch must be at least 1, got 0",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input(what, capsys, tmp_path):
    from train.cli import main

    flags, words = WRONG[what]
    file = tmp_path / "numbers.json"
    assert main(["preflight", TINY, *flags, "--json", str(file)]) == 2
    assert words in capsys.readouterr().err
    assert not file.exists()
