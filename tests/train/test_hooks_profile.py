"""A trace of some steps, and of those alone."""

import jax.numpy as jnp
import pytest

from train.hooks import AFTER, profiled


def run(folder, calls, steps, said):
    seen = []

    def step(state, batch):
        seen.append((float(state), batch))
        return state + 1

    state = jnp.zeros(())
    with profiled(step, steps, folder, said.append) as traced:
        for call in range(calls):
            state = traced(state, call)
    assert seen == [(call, call) for call in range(calls)]
    assert float(state) == calls


@pytest.mark.parametrize(
    "calls, steps, traced", [(AFTER + 5, 2, 2), (AFTER + 1, 5, 1), (AFTER + 3, 3, 3)]
)
def test_a_trace_is_written_and_named(tmp_path, calls, steps, traced):
    said = []
    run(tmp_path, calls, steps, said)
    assert said == [f"trace of {traced} steps: {tmp_path}"]
    assert any(path.stat().st_size for path in tmp_path.rglob("*.xplane.pb"))


@pytest.mark.parametrize("calls, steps", [(AFTER + 5, 0), (AFTER, 3)])
def test_no_trace_is_no_file(tmp_path, calls, steps):
    said = []
    run(tmp_path, calls, steps, said)
    assert said == [] and list(tmp_path.iterdir()) == []
