"""Rows of a benchmark as this code compiles them, beside those on record."""

import subprocess
import sys
from pathlib import Path

import jax
import pytest

from benchmarks import results
from train.preflight.compile import COMPILERS, _installed

ROOT = Path(__file__).parents[2]


def rows(name, words, folder):
    """Those of a GPU; in a process that has no other devices."""
    if not _installed(COMPILERS["cuda"]):
        pytest.skip(f"{COMPILERS['cuda']} is not installed: pip install '.[preflight]'")
    version = results.read(name)["versions"]["jax"]
    if jax.__version__ != version:
        pytest.skip(f"on record is jax {version}: make bench")
    flags = [name, "--only", words, "--folder", str(folder)]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return results.read(name, folder)["rows"]
