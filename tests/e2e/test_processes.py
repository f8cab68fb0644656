"""Any number of processes and devices trains, saves, goes on, and uses the run."""

import pytest
from support.run import TINY, assert_learned_alike, end, fit
from support.several import assert_used, start_several

# Processes, devices of each: under jit, then under pmap.
SHAPES = [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2)]
LINKS = [(*shape, mode) for mode in ("jit", "pmap") for shape in SHAPES]
# An epoch each, of a schedule that does not look at the end. A small rate: rounding
# errors stay small.
FLAGS = "--model.name resnet14 --model.groups None --model.batch-norm 8".split()
FLAGS += "--optim.schedule step --optim.peak-lr 0.01".split()


def run(count, devices, *command):
    """What the first of some processes says."""
    done = [end(process) for process in start_several(count, command, devices=devices)]
    assert [each.code for each in done] == [0] * count, done
    return done[0].out


@pytest.mark.slow
def test_each_goes_on_where_another_one_stopped(tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    for epoch, (count, devices, mode) in enumerate(LINKS, start=1):
        flags = [*FLAGS, "--epochs", str(epoch), "--parallel", mode]
        train = ["train", "fit", TINY, "--workdir", str(together), "--distributed"]
        said = run(count, devices, "-m", *train, *flags)
        assert f"on {count * devices} × cpu" in said
        assert (f"resumed at step {10 * (epoch - 1)}" in said) == (epoch > 1)
        output = tmp_path / f"used{epoch}"
        use = ["support.several", "use", TINY, str(together), str(output), *flags]
        assert_used(run(count, devices, "-m", *use), output, together)
    fit(alone, *FLAGS, "--epochs", str(len(LINKS)))
    assert_learned_alike(together, alone)
