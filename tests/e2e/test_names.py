"""Classes, files and a run of any name: trained, reported, asked, drawn."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.run import REPO

# Folders -> how their classes are said on a terminal of ASCII.
CLASSES = {
    b"-rf": "-rf",
    b"$x_1^2$": "$x_1^2$",
    "🍋 日本".encode(): "\\U0001f34b \\u65e5\\u672c",
    b"<b>&amp;": "<b>&amp;",
    b"a|b*c": "a|b*c",
    b"caf\xe9": "caf\\xe9",
    b"line\nbreak": "line\\nbreak",
    b"n" * 200: "n" * 200,
}
CONFIG = """
import dataclasses
from tests.e2e import tiny_imagenet

def config():
    tiny = tiny_imagenet.config()
    data = dataclasses.replace(tiny.data, source="image_folder", workers=0)
    name = "of $x_1$ | <b>"
    return dataclasses.replace(
        tiny, name=name, data=data, epochs=1, batch_size=16, eval_batch_size=16
    )
"""


@pytest.fixture
def tree(tmp_path):
    """Four images of each class to train on, and four to test on."""
    noise = np.random.default_rng(0)
    for part in (b"train", b"val"):
        for folder in CLASSES:
            path = os.path.join(os.fsencode(tmp_path / "tree"), part, folder)
            os.makedirs(path)
            for k in range(4):
                pixels = noise.integers(0, 256, (40, 40, 3), np.uint8)
                name = os.path.join(path, b"\xff%d.png" % k)
                Image.fromarray(pixels).save(os.fsdecode(name))
    return tmp_path / "tree"


@pytest.mark.slow
def test_names_of_any_kind_from_folders_to_pictures(tree, tmp_path):
    config, workdir = tmp_path / "config.py", tmp_path / "runs $1_2$" / "`one`"
    config.write_text(CONFIG)

    def command(name, *flags):
        line = [sys.executable, "-m", "train", name, config, "--workdir", workdir]
        ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(
            [*line, "--data.root", tree, *flags],
            cwd=REPO,
            env=os.environ | ascii_only,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    result = workdir / "result.json"
    for _ in range(2):  # a finished run ends again
        assert command("fit")[-1].startswith("test top-1 ")
        assert json.loads(result.read_text())["name"] == "of $x_1$ | <b>"
    assert (workdir / "report.md").read_text("utf-8").startswith("# `of $x_1$ | <b>`\n")
    for name in ("curves.png", "predictions.png"):
        assert f"({name})" in (workdir / "report.md").read_text("utf-8")
        assert (workdir / name).exists()
    photo = os.fsencode(tree) + b"/val/caf\xe9/\xff0.png"
    first, last = command("predict", "--predict.images", os.fsdecode(photo))
    path, _, said = first.partition(": ")
    assert path == f"{tree}/val/caf\\xe9/\\xff0.png"
    names = {part.rsplit(" ", 2)[0] for part in said.split(", ")}
    assert len(names) == 5 and names <= set(CLASSES.values())
    assert last == f"picture of 1: {workdir}/predict.png"
