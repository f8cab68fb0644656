"""Several real processes, on loopback, compute what one does, and end together."""

import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.nets import Net, batch, new_state, new_step
from support.run import (
    TINY,
    assert_same_run,
    end,
    fit,
    records,
    saved_steps,
    scratch,
)
from support.several import start_several

from train import sharding


def alone():
    """The same three steps on one device of this process."""
    model = Net(dtype=jnp.float64, batch_norm=2)
    mesh = sharding.make_mesh(jax.devices()[:1])
    step = sharding.jit_train_step(mesh, new_step(model))
    state = sharding.put_state(mesh, new_state(model))
    for number in range(3):
        state = step(state, sharding.put_batch(mesh, batch(number)))
    return jax.tree.leaves(jax.device_get(state.variables))


@pytest.mark.parametrize("count, mode", [(2, "jit"), (2, "pmap"), (4, "jit")])
def test_processes_compute_what_one_device_does(count, mode, tmp_path, x64):
    path = tmp_path / "variables.npz"
    processes = start_several(count, ["-m", "support.several", mode, str(path)])
    done = [end(process) for process in processes]
    assert [each.code for each in done] == [0] * count, done
    with np.load(path) as saved:
        got = [saved[name] for name in saved.files]
    for a, b in zip(got, alone(), strict=True):
        bound = 1e-9 * np.abs(b).max(initial=0) + 1e-15
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)


FLAGS = "--model.batch-norm", "8", "--heartbeat-seconds", "10"


def start(workdir, *flags):
    """Two processes of a run of tiny.py."""
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str(scratch() / "compiled_by_two"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = ["-m", "train", "fit", TINY, "--workdir", str(workdir), *FLAGS, *flags]
    return start_several(2, [*command, "--distributed", "True"], compiled)


def finish(processes):
    done = [end(process) for process in processes]
    assert [each.code for each in done] == [0, 0], done
    return done


@pytest.fixture(scope="module")
def undisturbed():
    workdir = scratch() / "two_processes"
    done = finish(start(workdir))
    return workdir, done


def test_one_process_speaks_and_writes(undisturbed):
    workdir, (first, second) = undisturbed
    assert "on 4 × cpu" in first.out and "test top-1" in first.out
    # The library that connects them speaks on its own.
    spoken = [each for each in second.out.splitlines() if "[Gloo]" not in each]
    assert spoken == []
    assert saved_steps(workdir)[-1] == 20


def test_two_processes_learn_what_one_does(tmp_path, undisturbed):
    one = tmp_path / "one"
    flag = "--xla_force_host_platform_device_count=4"
    fit(one, *FLAGS[:2], xla=flag)
    for got, want in zip(records(undisturbed[0]), records(one), strict=True):
        assert (got["kind"], got["step"]) == (want["kind"], want["step"])
        # float32 runs part after a few steps; see the test in float64 above.
        bound = 1e-3 if got["step"] <= 4 else 0.3
        assert got["loss"] == pytest.approx(want["loss"], abs=bound)


def wait_for_step(workdir, step, processes):
    while not any(record["step"] >= step for record in records(workdir)):
        ended = [process for process in processes if process.poll() is not None]
        assert not ended, [end(process) for process in ended]
        time.sleep(0.01)


def test_sigterm_to_one_saves_all_at_the_same_step(tmp_path, undisturbed):
    processes = start(tmp_path)
    wait_for_step(tmp_path, 4, processes)
    processes[1].send_signal(signal.SIGTERM)
    done = [end(process) for process in processes]
    assert [each.code for each in done] == [143, 143], done
    assert f"stopped at step {saved_steps(tmp_path)[-1]}, saved" in done[0].out
    finish(start(tmp_path))
    assert_same_run(tmp_path, undisturbed[0])


@pytest.mark.parametrize(
    "number, lost", [(signal.SIGKILL, 0), (signal.SIGKILL, 1), (signal.SIGSTOP, 1)]
)
def test_a_lost_process_ends_the_others_who_say_so(tmp_path, undisturbed, number, lost):
    processes = start(tmp_path)
    wait_for_step(tmp_path, 4, processes)
    processes[lost].send_signal(number)
    other = end(processes[1 - lost])
    processes[lost].kill()
    end(processes[lost])
    assert other.code != 0
    assert "another process of the run is lost" in other.err
    finish(start(tmp_path))
    assert_same_run(tmp_path, undisturbed[0])
