"""Several processes of one run on this machine, introduced to each other as by Slurm.

python -m support.several MODE FILE: three steps of a small network, one of several
processes; the first writes the parameters to FILE.
"""

import os
import random
import subprocess
import sys
from collections.abc import Sequence

from support.run import REPO

DEVICES = 2  # of each process


def start_several(
    count: int, command: Sequence[str], env: dict[str, str] | None = None
) -> list[subprocess.Popen]:
    """Starts `count` processes of one command, each with two fake devices."""
    job = random.SystemRandom().randrange(4096)
    return [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=REPO,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "tests")]),
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}",
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


def main(mode: str, path: str) -> None:
    import functools

    import jax
    import jax.numpy as jnp
    import numpy as np
    from support.nets import Net, batch, init, new_step

    from train import sharding
    from train.config import Config
    from train.data.order import Shard
    from train.distributed import joined

    with joined(Config(name="several", distributed=True)), jax.enable_x64(True):
        mesh, parallel = sharding.make_mesh(), sharding.PARALLEL[mode]
        model = Net(dtype=jnp.float64, batch_norm=2)
        step = parallel.train_step(mesh, new_step(model, shards=mesh.size))
        state = sharding.jit_init(mesh, functools.partial(init, model))()
        shard = Shard(jax.process_index(), jax.process_count())
        for number in range(3):
            whole = batch(number)
            rows = shard.rows(len(whole["label"]))
            mine = {name: array[rows] for name, array in whole.items()}
            state = step(state, parallel.put(mesh, mine))
        leaves = jax.tree.leaves(jax.device_get(state.variables))
        if jax.process_index() == 0:
            np.savez(path, *leaves)


if __name__ == "__main__":
    main(*sys.argv[1:])
