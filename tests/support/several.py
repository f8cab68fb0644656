"""Several processes of one run on this machine, introduced to each other as by Slurm.

python -m support.several MODE FOLDER: one of several processes; restores the last
checkpoint of a small network, makes a step, saves.
"""

import os
import random
import subprocess
import sys
from collections.abc import Sequence

from support.run import REPO


def start_several(
    count: int,
    command: Sequence[str],
    env: dict[str, str] | None = None,
    devices: int = 2,
) -> list[subprocess.Popen]:
    """Starts `count` processes of one command, each with some fake devices."""
    job = random.SystemRandom().randrange(4096)
    return [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=REPO,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "tests")]),
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
                "SLURM_JOB_ID": str(job),
                # The port that jax makes of the job's number; here alone.
                "JAX_COORDINATOR_BIND_ADDRESS": f"127.0.0.1:{61440 + job}",
                "SLURM_STEP_NODELIST": "localhost",
                "SLURM_NTASKS": str(count),
                "SLURM_PROCID": str(number),
                "SLURM_LOCALID": str(number),
            }
            | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def main(mode: str, folder: str) -> None:
    import contextlib
    import functools

    import jax
    import jax.numpy as jnp
    from support.nets import Net, batch, init, new_step

    from train import sharding
    from train.checkpoint import Checkpoints
    from train.config import Config
    from train.data.order import Shard
    from train.distributed import joined

    with joined(Config(name="several", distributed=True)), jax.enable_x64(True):
        mesh, parallel = sharding.make_mesh(), sharding.PARALLEL[mode]
        model = Net(dtype=jnp.float64, batch_norm=2)
        step = parallel.train_step(mesh, new_step(model, shards=mesh.size))
        whole = sharding.replicated(mesh)
        like = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole),
            jax.eval_shape(functools.partial(init, model)),
        )
        shard = Shard(jax.process_index(), jax.process_count())
        with contextlib.closing(Checkpoints(folder, 1)) as checkpoints:
            state, _ = checkpoints.restore(like)
            images = batch(int(state.step))
            rows = shard.rows(len(images["label"]))
            mine = {name: array[rows] for name, array in images.items()}
            checkpoints.save(step(state, parallel.put(mesh, mine)), {})


if __name__ == "__main__":
    main(*sys.argv[1:])
