"""Several real processes, on loopback, compute what one does, and end together."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.nets import Net, batch, new_state, new_step
from support.run import (
    REPO,
    TINY,
    assert_learned_alike,
    assert_same_run,
    end,
    fit,
    records,
    saved_steps,
    scratch,
)
from support.saved import like, save
from support.several import assert_used, start_several

from train import sharding
from train.checkpoints.manager import Checkpoints

# Processes, devices of each, mode: each goes on from what the one before it saved.
SHORT = [(2, 2, "jit"), (2, 1, "pmap"), (1, 1, "jit")]
CHAIN = [
    (1, 8, "jit"), (2, 2, "jit"), (4, 2, "jit"), (2, 2, "pmap"), (1, 8, "pmap"),
    (2, 1, "pmap"), (1, 1, "jit"),
]  # fmt: skip
LONGER = [
    (4, 1, "jit"), (2, 1, "jit"), (1, 2, "jit"), (4, 1, "pmap"), (1, 1, "pmap"),
    (1, 2, "pmap"), (2, 1, "jit"),
]  # fmt: skip


def alone(steps):
    """The state before and after each step, on one device of this process."""
    model = Net(dtype=jnp.float64, batch_norm=2)
    mesh = sharding.make_mesh(jax.devices()[:1])
    step = sharding.jit_train_step(mesh, new_step(model))
    state = sharding.put_state(mesh, new_state(model))
    yield jax.device_get(state)
    for number in range(steps):
        state = step(state, sharding.put_batch(mesh, batch(number)))
        yield jax.device_get(state)


@pytest.mark.parametrize(
    "chain",
    [
        SHORT,
        *(pytest.param(chain, marks=pytest.mark.slow) for chain in (CHAIN, LONGER)),
    ],
    ids=len,
)
def test_processes_and_devices_compute_what_one_does_and_resume_each_other(
    tmp_path, x64, chain
):
    first, *states = alone(len(chain))
    save(tmp_path, 1, first, 0)
    for (count, devices, mode), want in zip(chain, states, strict=True):
        command = ["-m", "support.several", "step", mode, str(tmp_path)]
        processes = start_several(count, command, devices=devices)
        done = [end(process) for process in processes]
        assert [each.code for each in done] == [0] * count, (mode, done)
        got, _ = Checkpoints(tmp_path).restore(like(want))
        assert int(got.step) == int(want.step)
        assert_close(jax.device_get(got.variables), want.variables)


def assert_close(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        bound = 1e-9 * np.abs(b).max(initial=0) + 1e-15
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)


FLAGS = "--model.batch-norm", "8"
# Only where a process is lost: on a busy machine a sound one may be silent as long.
IMPATIENT = "--heartbeat-seconds", "10"


def start(workdir, *flags, devices=1):
    """Two processes of a run of tiny.py."""
    command = ["-m", "train", "fit", TINY, "--workdir", str(workdir), *FLAGS, *flags]
    return start_several(2, [*command, "--distributed"], devices=devices)


def finish(processes):
    done = [end(process) for process in processes]
    assert [each.code for each in done] == [0, 0], done
    return done


def by_hand(workdir):
    """The commands of docs/clusters.md for two processes; of tiny.py, to its end."""
    page = (REPO / "docs/clusters.md").read_text()
    [commands] = re.findall(r"```\n(for i in .*?)```", page, re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    here = {
        ".venv/bin/python": sys.executable,
        "configs/fashion_mnist/prm_resnet14.py": TINY,
        "runs/two": str(workdir),
        "12321": str(port),
        "--distributed": " ".join(["--distributed", *FLAGS]),
    }
    for theirs, ours in here.items():
        assert theirs in commands
        commands = commands.replace(theirs, ours)
    return subprocess.run(
        ["sh", "-c", commands],
        cwd=REPO,
        env=os.environ | {"XLA_FLAGS": ""},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def undisturbed():
    """The folder of a run by two processes with one device each, and what they said."""
    workdir = scratch() / "two_processes"
    return workdir, by_hand(workdir)


def test_two_processes_by_hand_of_which_one_speaks_and_writes(undisturbed):
    workdir, done = undisturbed
    assert "on 2 × cpu" in done.stdout and "test top-1" in done.stdout, done.stderr
    # The library that connects them speaks on its own.
    said = [line for line in done.stdout.splitlines() if "[Gloo]" not in line]
    assert len(said) == len(set(said))
    assert saved_steps(workdir)[-1] == 20
    assert (workdir / "result.json").exists()


@pytest.mark.slow  # by one process: tests/e2e/test_first_light.py
def test_two_processes_use_what_they_trained(tmp_path, undisturbed):
    """One speaks and writes; every test image counts once."""
    workdir, _ = undisturbed
    use = ["-m", "support.several", "use", TINY, str(workdir), str(tmp_path), *FLAGS]
    first, second = finish(start_several(2, use, devices=1))
    assert_used(first.out, tmp_path, workdir)
    assert [line for line in second.out.splitlines() if "[Gloo]" not in line] == []


def wait_for_step(workdir, step, processes):
    while not any(record["step"] >= step for record in records(workdir)):
        ended = [process for process in processes if process.poll() is not None]
        assert not ended, [end(process) for process in ended]
        time.sleep(0.01)


def test_sigterm_to_one_saves_all_and_one_process_goes_on(tmp_path, undisturbed):
    processes = start(tmp_path, devices=2)
    wait_for_step(tmp_path, 4, processes)
    processes[1].send_signal(signal.SIGTERM)
    done = [end(process) for process in processes]
    assert [each.code for each in done] == [143, 143], done
    last = saved_steps(tmp_path)[-1]
    assert f"stopped at step {last}, saved" in done[0].out
    four = "--xla_force_host_platform_device_count=4"
    resumed = fit(tmp_path, *FLAGS, xla=four)
    assert f"resumed at step {last}" in resumed.out
    assert_learned_alike(tmp_path, undisturbed[0])


# The first is whom the others report to; a frozen one is found by its silence.
@pytest.mark.parametrize(
    "number, lost",
    [(signal.SIGKILL, 0), pytest.param(signal.SIGSTOP, 1, marks=pytest.mark.slow)],
)
def test_a_lost_process_ends_the_others_who_say_so(tmp_path, undisturbed, number, lost):
    processes = start(tmp_path, *IMPATIENT)
    wait_for_step(tmp_path, 4, processes)
    processes[lost].send_signal(number)
    other = end(processes[1 - lost])
    processes[lost].kill()
    end(processes[lost])
    assert other.code != 0
    assert "another process of the run is lost" in other.err
    finish(start(tmp_path))
    assert_same_run(tmp_path, undisturbed[0])
