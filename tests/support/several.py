"""Several processes of one run on this machine, introduced to each other as by Slurm.

python -m support.several step MODE FOLDER: one of several processes; restores the last
checkpoint of a small network, makes a step, empties its metrics, saves.

python -m support.several use CONFIG WORKDIR OUTPUT FLAG …: evaluates and exports a run,
predicts with it, as the commands do, in one process; it writes into OUTPUT.
"""

import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.run import REPO, records


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


def assert_used(said: str, output: Path, workdir: Path) -> None:
    """`use` found in a run of tiny.py what its training had, and wrote it once."""
    test = [record for record in records(workdir) if record["kind"] == "test"][-1]
    loss, top1 = f"test loss {test['loss']:.4f}", f"test top-1 {test['top1']:.2f} %"
    assert f"step {test['step']}: 200 images, {loss}" in said and top1 in said, said
    assert len(re.findall("^test image [012]: ", said, re.MULTILINE)) == 3, said
    exported, trained = (f / "model.safetensors" for f in (output, workdir))
    assert exported.read_bytes() == trained.read_bytes()
    names = {"export.json", "load.py", "model.safetensors", "model.stablehlo"}
    assert {path.name for path in output.iterdir()} == names | {"predict.png"}


def step(mode: str, folder: str) -> None:
    import contextlib
    import functools

    import jax
    import jax.numpy as jnp
    from support.nets import Net, batch, init, new_step

    from train import sharding
    from train.checkpoints.manager import Checkpoints
    from train.config import Config
    from train.data.input import Shard
    from train.distributed import joined
    from train.tasks.metrics import Metrics

    with joined(Config(name="several", distributed=True)), jax.enable_x64(True):
        mesh, parallel = sharding.make_mesh(), sharding.PARALLEL[mode]
        model = Net(dtype=jnp.float64, batch_norm=2)
        train_step = parallel.train_step(mesh, new_step(model, shards=mesh.size))
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
            state = train_step(state, parallel.put(mesh, mine))
            # As after each report.
            empty = sharding.put_state(mesh, Metrics.empty())
            checkpoints.save(state.replace(metrics=empty), {})


def use(path: str, workdir: str, output: str, *flags: str) -> None:
    import dataclasses

    from train.cli import parse
    from train.config import Export, Predict
    from train.distributed import joined
    from train.export.command import export_run
    from train.predict import evaluate_run, predict

    config = parse("fit", [path, "--workdir", workdir, *flags])
    config = dataclasses.replace(config, distributed=True)
    folder = Path(output)
    with joined(config):
        evaluate_run(config)
        export_run(config, Export(str(folder)))
        predict(config, Predict(count=3, output=str(folder / "predict.png")))


MODES = {"step": step, "use": use}

if __name__ == "__main__":
    MODES[sys.argv[1]](*sys.argv[2:])
