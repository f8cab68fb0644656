"""Whatever ends a run, the same command goes on, and ends with the same bits."""

import resource
import signal

import pytest
from support.run import (
    STEPS,
    assert_same_run,
    end,
    fit,
    records,
    run,
    saved_steps,
    start,
    uninterrupted,
    wait_until,
)

from train.cli import main


def logged(workdir, step):
    return any(r["step"] >= step for r in records(workdir))


def saving(workdir, step):
    """Whether the save of this step has begun and has not ended."""
    return any((workdir / "checkpoints").glob(f"{step}.*tmp*"))


# What has just happened when the process is killed, and the step that is safe.
MOMENTS = [
    (lambda workdir: (workdir / "config.json").exists(), 0),
    # The save of step 3 may still be on its way, as that of 9 below.
    (lambda workdir: logged(workdir, 4), 0),
    (lambda workdir: saving(workdir, 6), 3),
    (lambda workdir: logged(workdir, 10), 6),
    (lambda workdir: STEPS in saved_steps(workdir), STEPS),
]


@pytest.mark.slow  # a kill in an epoch of ImageNet guards a change
def test_killed_at_every_moment(tmp_path):
    want = (
        uninterrupted()
    )  # first: what a killed process compiles may not be kept whole
    for come, safe in MOMENTS:
        process = start("fit", "--workdir", tmp_path)
        wait_until(lambda come=come: come(tmp_path), process)
        process.kill()
        assert end(process).code == -signal.SIGKILL
        assert max(saved_steps(tmp_path), default=0) >= safe
    fit(tmp_path)
    assert_same_run(tmp_path, want)


# What goes on when the signal comes: compiling, training, saving, evaluating.
PHASES = [
    (lambda workdir: (workdir / "config.json").exists(), signal.SIGTERM, 143),
    (lambda workdir: logged(workdir, 4), signal.SIGTERM, 143),
    (lambda workdir: saving(workdir, 6), signal.SIGINT, 130),
    (lambda workdir: logged(workdir, 10), signal.SIGTERM, 143),
]


# One process that is asked, and one of two, are asked at each change: e2e, tasks.
@pytest.mark.slow
def test_asked_to_stop_in_every_phase(tmp_path):
    last = 0
    for come, number, code in PHASES:
        process = start("fit", "--workdir", tmp_path)
        wait_until(lambda come=come: come(tmp_path), process)
        process.send_signal(number)
        stopped = end(process)
        assert stopped.code == code, stopped.err
        assert "Traceback" not in stopped.err
        before, last = last, saved_steps(tmp_path)[-1]
        # All that was seen to be done is saved.
        done = [record["step"] for record in records(tmp_path)]
        assert max([before + 1, *done]) <= last < STEPS
        said = f"stopped at step {last}, saved. Run it again to go on.\n"
        assert stopped.out.endswith(said)
    resumed = fit(tmp_path)
    assert f"resumed at step {last}" in resumed.out
    assert_same_run(tmp_path, uninterrupted())


def test_a_second_run_in_the_folder_is_refused_and_the_first_is_unharmed(
    tmp_path, capsys
):
    first = start("fit", "--workdir", tmp_path)
    wait_until(lambda: logged(tmp_path, 2), first)
    first.send_signal(signal.SIGSTOP)
    try:
        code = main(["fit", "tests/e2e/tiny.py", "--workdir", str(tmp_path)])
    finally:
        first.send_signal(signal.SIGCONT)
    assert code == 2
    error = capsys.readouterr().err
    assert f"in use by another run: {tmp_path} (process {first.pid})" in error
    assert end(first).code == 0
    assert_same_run(tmp_path, uninterrupted())


def no_room_for(process, size):
    """From now on the process cannot write beyond this size in any file."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))


# Too little for the arrays of a save; too little for a line of scalars.jsonl.
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")
@pytest.mark.parametrize("size", [100_000, pytest.param(10, marks=pytest.mark.slow)])
def test_the_disk_is_full(tmp_path, size):
    process = start("fit", "--workdir", tmp_path)
    wait_until(lambda: logged(tmp_path, 4), process)
    no_room_for(process, size)
    failed = end(process)
    assert failed.code == 1
    (said,) = [line for line in failed.err.splitlines() if line.startswith("error: ")]
    assert "File too large" in said
    # Threads of the libraries may say more; the program does not break down.
    assert "train/cli.py" not in failed.err
    assert max(saved_steps(tmp_path), default=0) < STEPS

    fit(tmp_path)
    assert_same_run(tmp_path, uninterrupted())


def test_a_finished_run_may_be_run_again(tmp_path):
    before = uninterrupted()

    def touched():
        """Also the folder itself: nothing is left to train, so nothing is saved."""
        return {p: p.stat().st_mtime_ns for p in before.rglob("checkpoints*/**")}

    files = touched()
    done = run("fit", "--workdir", before)
    assert done.code == 0, done.err
    assert f"resumed at step {STEPS}" in done.out
    assert files == touched()
    assert (
        done.out.splitlines()[-1] == (before / "out.txt").read_text().splitlines()[-1]
    )


@pytest.mark.parametrize(
    "flag, value, said",
    [
        ("--optim.peak-lr", "0.2", "optim.peak_lr: was 0.1, is 0.2"),
        ("--seed", "1", "seed: was 0, is 1"),
        ("--model.similarity", "l1", "model.similarity: was None, is 'l1'"),
    ],
)
def test_another_config_is_refused(capsys, flag, value, said):
    workdir = uninterrupted()
    before = (workdir / "config.json").read_text(), records(workdir)
    command = ["fit", "tests/e2e/tiny.py", "--workdir", str(workdir), flag, value]
    assert main(command) == 2
    assert said in capsys.readouterr().err
    assert before == ((workdir / "config.json").read_text(), records(workdir))
