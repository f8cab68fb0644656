"""SIGKILL at random moments; the long form is benchmarks/kills.py."""

import random
import subprocess
import sys
import time

import jax
import numpy as np
import support.saver as saver
from support.run import REPO

import benchmarks.kills as benchmark
from train.checkpoints.manager import Checkpoints

KILLS = 10


def life(folder, choose):
    """Lets a process save a few times, kills it; the last step it told was safe."""
    script = [sys.executable, "tests/support/saver.py", str(folder)]
    with subprocess.Popen(script, cwd=REPO, stdout=subprocess.PIPE, text=True) as run:
        began = time.monotonic()
        for _ in range(choose.randint(1, 4)):
            began, before = time.monotonic(), began
            told = int(run.stdout.readline())
        time.sleep(choose.uniform(0, min(time.monotonic() - before, 0.3)))
        run.kill()
        return max([told, *map(int, run.stdout.read().split())])


def test_ten_kills_while_saving(tmp_path):
    choose, cut_off = random.Random(0), 0
    shapes = saver.State(
        *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in saver.state(0))
    )
    for _ in range(KILLS):
        told = life(tmp_path, choose)
        cut_off += benchmark.cut_off(tmp_path)
        got, _ = Checkpoints(tmp_path).restore(shapes)
        # One more than told: killed between its manifest and telling it.
        assert int(got.step) in (told, told + 1)
        wanted = saver.state(int(got.step)).weights
        assert np.asarray(got.weights).tobytes() == np.asarray(wanted).tobytes()
    print(f"{cut_off} of {KILLS} while saving")
