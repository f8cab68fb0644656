"""Compiled for chips that are not here, the kernels are in programs of any mesh."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from train.preflight.chips import parse_topology
from train.preflight.compile import COMPILERS, _installed

ROOT = Path(__file__).parents[3]
# A kernel forward and one backward, of each of three PRMs.
KERNELS = 6


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
@pytest.mark.parametrize("topology", ["v5e:2x2", "h100:4"])
def test_every_prm_is_a_kernel_and_no_features_travel(topology, kind):
    package = COMPILERS[parse_topology(topology).chip.kind]
    if not _installed(package):
        pytest.skip(f"{package} is not installed: pip install '.[preflight]'")
    program = Path(__file__).with_name("on_a_mesh.py")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, str(program), topology, kind],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["kernels"] == KERNELS
    assert set(found["collectives"]) <= {"all-reduce"}
