"""The same step under pmap: what it computes, and what it sends between devices."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.nets import Net, batch, new_state, new_step

from train import sharding
from train.tasks.mixup import make_mix

AXIS = "data"
DEVICES = 4
BITS_64 = functools.partial(Net, dtype=jnp.float64)


def shares(number):
    """A batch as pmap takes it: (devices, images of one, …)."""
    return jax.tree.map(lambda a: a.reshape(DEVICES, -1, *a.shape[1:]), batch(number))


def pmapped(model, **options):
    step = functools.partial(new_step(model, **options), axis=AXIS)
    return jax.pmap(step, AXIS, in_axes=(None, 0))


def trained_by_pmap(model, steps=3, **options):
    """The state of each device."""
    state, step = new_state(model), pmapped(model, **options)
    for number in range(steps):
        # One at a time: collectives of several in flight can wait for each other on
        # fewer cores than devices, until XLA ends the process.
        every = jax.block_until_ready(step(state, shares(number)))
        state = jax.tree.map(lambda leaf: leaf[0], every)
    return every


def trained_by_jit(model, steps=3, **options):
    mesh = sharding.make_mesh()
    state = sharding.put_state(mesh, new_state(model))
    step = sharding.jit_train_step(mesh, new_step(model, **options))
    for number in range(steps):
        placed = sharding.put_batch(mesh, batch(number))
        state = jax.block_until_ready(step(state, placed))
    return state


def assert_close(got, want):
    bound = 1e-9 * np.abs(want).max() + 1e-15
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)


@pytest.mark.parametrize(
    "batch_norm, options",
    [
        (2, {}),
        (4, {}),
        (2, {"mix": make_mix(0.4, 1.0), "accumulate": 2, "shards": DEVICES}),
    ],
    ids=["2", "4", "mixed, in parts"],
)
def test_pmap_equals_jit(batch_norm, options, x64):
    model = BITS_64(batch_norm=batch_norm)
    every = trained_by_pmap(model, **options)
    want = trained_by_jit(model, **options)
    got = [jax.tree.map(lambda leaf: leaf[d], every) for d in range(DEVICES)]  # noqa: B023
    for state in got:
        jax.tree.map(assert_close, state.variables, want.variables)
    losses = [float(state.metrics.compute()["loss"]) for state in got]
    assert losses == pytest.approx([float(want.metrics.compute()["loss"])] * DEVICES)


def test_each_device_drops_other_units():
    model = Net(dropout=0.5)
    same = jax.tree.map(lambda a: np.stack([a[:4]] * DEVICES), batch(0))
    together = pmapped(model)(new_state(model), same)
    one = jax.tree.map(lambda a: a[0], same)
    alone = jax.jit(new_step(model))(new_state(model), one)
    loss = float(alone.metrics.compute()["loss"])
    assert float(together.metrics.loss.total[0] / 4) != pytest.approx(loss)


EVERYTHING = {"mix": make_mix(0.4, 1.0), "accumulate": 2, "ema": 0.9}


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "everything on"])
def test_every_array_is_averaged_once_and_nothing_else_is_sent(options):
    model = Net(batch_norm=2)
    state = new_state(model, ema="ema" in options)
    step = functools.partial(new_step(model, **options), axis=AXIS)
    one = jax.tree.map(lambda a: a[0], shares(0))
    equations = jax.make_jaxpr(step, axis_env=[(AXIS, DEVICES)])(state, one).eqns
    sent = [e for e in equations if AXIS in str(e.params.get("axes", ""))]
    assert {e.primitive.name for e in sent} == {"psum"}
    averaged = jax.tree.leaves((state.params, state.batch_stats, state.metrics))
    assert sum(len(e.invars) for e in sent) == len(averaged)


def test_the_state_keeps_its_dtypes():
    model = Net()
    state = new_state(model)
    got = jax.eval_shape(pmapped(model), state, shares(0))
    jax.tree.map(lambda a, b: a.dtype == b.dtype or pytest.fail(), got, state)


def collectives(compiled):
    """Result types of the collective operations of a compiled program."""
    line = re.compile(r"= (.*?) (all-\w+|reduce-scatter|collective-\w+)(?:-start)?\(")
    return [match.groups() for match in line.finditer(compiled.as_text())]


@pytest.mark.usefixtures("compiled_anew")
def test_pmap_compiles_to_one_reduction_of_floats():
    model = Net()
    compiled = pmapped(model).lower(new_state(model), shares(0)).compile()
    found = collectives(compiled)
    assert {kind for _, kind in found} == {"all-reduce"}
    # The numbers of images, integers, make a second one.
    assert sum("f32[" in result for result, _ in found) == 1


@pytest.mark.usefixtures("compiled_anew")
def test_jit_with_statistics_on_a_device_sends_only_sums():
    mesh, model = sharding.make_mesh(), Net()
    step = jax.jit(
        new_step(model),
        in_shardings=(sharding.replicated(mesh), sharding.split(mesh)),
        out_shardings=sharding.replicated(mesh),
    )
    state = sharding.put_state(mesh, new_state(model))
    lowered = step.lower(state, sharding.put_batch(mesh, batch(0)))
    found = collectives(lowered.compile())
    assert [kind for _, kind in found] == ["all-reduce"]
