"""Saves without a pause, for tests that kill it: python saver.py FOLDER."""

import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SIZE = 300_000


class State(NamedTuple):
    step: jax.Array
    weights: jax.Array


def state(step: int) -> State:
    """Every number of it depends on the step."""
    noise = np.random.default_rng(step).normal(size=SIZE).astype(np.float32)
    return State(jnp.asarray(step, jnp.int32), jnp.asarray(noise))


def main(folder: str) -> None:
    from train.checkpoints.manager import Checkpoints

    checkpoints = Checkpoints(folder, 1)
    step = 0
    if checkpoints.latest() is not None:
        step = int(checkpoints.restore(jax.eval_shape(lambda: state(0)))[0].step)
    while True:
        step += 1
        checkpoints.save(state(step), {})
        checkpoints.finish()
        print(step, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(sys.argv[1])
