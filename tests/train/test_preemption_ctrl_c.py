"""Ctrl-C before a run begins ends it at once: code 130 and a line, wherever it is."""

import os
import signal
import subprocess
import sys

import pytest
from support.run import REPO, TINY, end, start, wait_until

from train.preemption import LINE, keyboard_interrupts, signals_blocked


def run(*command, path=REPO):
    """A program, in a group of its own as a shell would start it."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=REPO,
        env=os.environ | {"PYTHONPATH": str(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def assert_left(process):
    assert end(process) == (130, "", f"{LINE}\n")


# And the main thread is busy until it is answered.
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT); __import__('time').sleep(600)"
# Read by every Python that finds it: Ctrl-C when a module is about to be imported.
WHEN_IMPORTED = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            """


@pytest.mark.parametrize("module", ["train.cli", "jax._src.core"])
def test_while_it_imports(tmp_path, module):
    text = WHEN_IMPORTED.format(module=module) + INTERRUPT
    text += "\nsys.meta_path.insert(0, Interrupt())\n"
    (tmp_path / "sitecustomize.py").write_text(text)
    assert_left(run("-m", "train", "fit", TINY, path=tmp_path))


def test_while_it_reads_the_config(tmp_path):
    config = tmp_path / "config.py"
    # As a library does that calls back: Python would print the interrupt and go on.
    config.write_text(
        "import os, signal\n"
        "class Callback:\n"
        f"    def __del__(self): {INTERRUPT}\n"
        "Callback()\n"
    )
    assert_left(run("-m", "train", "fit", str(config)))


# A lock that is taken twice, of C: Python gets no turn in this thread any more.
STUCK = """
import ctypes, os
from train.preemption import leave_on_ctrl_c
leave_on_ctrl_c()
lock, c = ctypes.create_string_buffer(64), ctypes.CDLL(None)
c.pthread_mutex_lock(lock)
os.write(1, b".")
c.pthread_mutex_lock(lock)
"""


def test_while_a_compiler_or_the_network_keeps_the_process():
    process = run("-c", STUCK)
    assert process.stdout.read(1) == "."
    process.send_signal(signal.SIGINT)
    assert_left(process)


def test_a_run_that_has_begun_is_told_python_s_way():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with keyboard_interrupts(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.signal(signal.SIGINT, before) == signal.SIG_IGN


def test_a_process_does_not_hear_it_before_it_can_handle_it():
    with signals_blocked():
        process = run("-c", "import time; time.sleep(0.5); print('heard nothing')")
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    assert end(process) == (0, "heard nothing\n", "")


@pytest.mark.slow
def test_while_it_compiles_the_first_step(tmp_path):
    process = start("fit", "--workdir", tmp_path)
    wait_until((tmp_path / "parameters.txt").exists, process)
    process.send_signal(signal.SIGINT)
    done = end(process)
    assert (done.code, done.err) == (130, "")
    assert "stopped at step" in done.out.splitlines()[-1]
