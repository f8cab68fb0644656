"""Updates of no finite numbers are not made; the state stays that before them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.bad_nets import NanGradient, poisoned, with_pixel
from support.nets import Net, batch, new_state, new_step, train_step

from train import sharding
from train.nonfinite import check_finite
from train.step import finite

AXIS = "data"
COUNTERS = ("step", "skipped", "bad_step")


def jitted(mesh, step):
    """The step under jit, on batches as they are."""
    whole = sharding.jit_train_step(mesh, step)
    return lambda state, images: whole(state, sharding.put_batch(mesh, images))


def pmapped(mesh, step):
    """The step under pmap: the state of the first device, if all have the same."""
    devices = list(mesh.devices.ravel())
    mapped = jax.pmap(
        functools.partial(step, axis=AXIS), AXIS, in_axes=(None, 0), devices=devices
    )

    def call(state, images):
        n = len(devices)
        shares = jax.tree.map(lambda a: a.reshape(n, -1, *a.shape[1:]), images)
        every = jax.device_get(mapped(jax.device_get(state), shares))
        for other in range(1, n):
            jax.tree.map(lambda a: np.testing.assert_array_equal(a[0], a[other]), every)  # noqa: B023
        return jax.tree.map(lambda a: a[0], every)

    return call


PARALLEL = {"jit": jitted, "pmap": pmapped}


def first_state(model):
    state = new_state(model, ema=True)
    return state.replace(opt_state=optax.sgd(0.2, 0.9).init(state.params))


def states(bad, mesh, parallel="jit", model=None, steps=6, **options):
    """The states before and after each step, those numbered in `bad` poisoned."""
    model = Net() if model is None else model
    optimizer = optax.sgd(0.2, 0.9)
    step = train_step(model, optimizer, poisoned(model), ema=0.9, **options)
    step = PARALLEL[parallel](mesh, step)
    state = sharding.put_state(mesh, first_state(model))
    found = [jax.device_get(state)]
    for number in range(1, steps + 1):
        images = batch(number)
        images = with_pixel(images, 3) if number in bad else images
        state = step(state, images)
        found.append(jax.device_get(state))
    return found


def counters(state):
    return {name: int(getattr(state, name)) for name in COUNTERS}


def but_counters(state):
    return {name: value for name, value in vars(state).items() if name not in COUNTERS}


def assert_same_bits(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.mark.parametrize("parallel", PARALLEL)
def test_the_first_bad_step_stops_the_state_that_was_before_it(parallel, devices):
    found = states({3, 5}, sharding.make_mesh(devices), parallel)
    assert counters(found[2]) == {"step": 2, "skipped": 0, "bad_step": 0}
    for state in found[3:]:
        assert counters(state) == {"step": 2, "skipped": 0, "bad_step": 3}
        assert_same_bits(but_counters(state), but_counters(found[2]))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("parallel", PARALLEL)
def test_bad_steps_are_skipped_counted_and_then_stop_it(parallel, devices):
    mesh = sharding.make_mesh(devices)
    found = states({2, 3, 5}, mesh, parallel, skip_bad_steps=2)
    assert [counters(state)["step"] for state in found] == [0, 1, 2, 3, 4, 4, 4]
    assert [counters(state)["skipped"] for state in found] == [0, 0, 1, 2, 2, 2, 2]
    assert [counters(state)["bad_step"] for state in found] == [0] * 5 + [5] * 2
    assert_same_bits(but_counters(found[3]), but_counters(found[1]))
    assert_same_bits(but_counters(found[6]), but_counters(found[4]))
    changed = jax.tree.map(
        lambda a, b: (a != b).any(), found[4].params, found[3].params
    )
    assert all(jax.tree.leaves(changed))


@pytest.mark.parametrize("parallel", PARALLEL)
def test_any_devices_decide_alike(parallel, devices, x64):
    model = Net(dtype=jnp.float64)
    options = {"model": model, "skip_bad_steps": 1}
    found = states({2, 5}, sharding.make_mesh(devices), parallel, **options)
    want = states({2, 5}, sharding.make_mesh(jax.devices()[:1]), **options)
    for got_one, want_one in zip(found, want, strict=True):
        assert counters(got_one) == counters(want_one)
        for a, b in zip(
            jax.tree.leaves(got_one.variables),
            jax.tree.leaves(want_one.variables),
            strict=True,
        ):
            np.testing.assert_allclose(
                a, b, rtol=0, atol=1e-9 * np.abs(b).max() + 1e-15
            )


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}], ids=["whole", "in parts"])
def test_a_good_run_is_the_same_bits_with_any_number_to_skip(options):
    mesh = sharding.make_mesh(jax.devices()[:1])
    never = states(set(), mesh, **options)[-1]
    ten = states(set(), mesh, skip_bad_steps=10, **options)[-1]
    assert_same_bits(never, ten)
    assert counters(never) == {"step": 6, "skipped": 0, "bad_step": 0}


def test_a_bad_part_of_a_batch_is_a_bad_batch():
    mesh = sharding.make_mesh(jax.devices()[:1])
    assert counters(states({3}, mesh, accumulate=4)[-1])["bad_step"] == 3


def test_the_average_forgets_skipped_steps():
    """One skipped step of three: the average of the two that were made."""
    mesh = sharding.make_mesh(jax.devices()[:1])
    *_, one, _, two = states({2}, mesh, steps=3, skip_bad_steps=1)
    share = 0.1 / (1 - 0.9**2)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7),
        two.ema["params"],
        jax.tree.map(lambda a, b: (1 - share) * a + share * b, one.params, two.params),
    )


def test_a_gradient_of_no_finite_numbers_is_bad_though_the_loss_is_finite():
    model = NanGradient()
    state = new_state(model)
    after = jax.jit(new_step(model))(state, batch(0))
    assert counters(after) == {"step": 0, "skipped": 0, "bad_step": 1}
    assert_same_bits(but_counters(after), but_counters(state))


def test_finite_looks_at_every_floating_number():
    fine = {"a": jnp.arange(3), "b": (jnp.ones((2, 2)), jnp.zeros((), jnp.bfloat16))}
    assert finite(fine)
    assert finite({})
    for number in (jnp.nan, jnp.inf, -jnp.inf):
        bad = fine | {"b": (fine["b"][0].at[1, 0].set(number), fine["b"][1])}
        assert not finite(bad)


def test_a_bad_statistic_alone_is_bad(devices):
    """A channel far out: its variance overflows, its output is the bias."""
    state = new_state(Net())
    kernel = state.params["Conv_0"]["kernel"].at[..., 2].mul(1e30)
    params = state.params | {"Conv_0": {**state.params["Conv_0"], "kernel": kernel}}
    mesh = sharding.make_mesh(devices)
    step = sharding.jit_train_step(mesh, new_step(Net()))
    placed = sharding.put_state(mesh, state.replace(params=params))
    after = step(placed, sharding.put_batch(mesh, batch(0)))
    assert counters(after) == {"step": 0, "skipped": 0, "bad_step": 1}
    assert finite(after.batch_stats)


@pytest.mark.usefixtures("compiled_anew")
def test_the_guarded_update_takes_no_memory_of_its_own():
    """A second set of parameters would show at once."""
    model = Net()
    state = new_state(model, ema=True)
    step = jax.jit(new_step(model, ema=0.9), donate_argnums=0)
    memory = step.lower(state, batch(0)).compile().memory_analysis()
    assert memory.alias_size_in_bytes == sum(a.nbytes for a in jax.tree.leaves(state))


def test_a_state_that_is_not_finite_is_named_and_not_saved():
    state = first_state(Net())
    check_finite(state)
    kernel = state.params["Conv_0"]["kernel"].at[0].set(jnp.inf)
    params = state.params | {"Conv_0": state.params["Conv_0"] | {"kernel": kernel}}
    with pytest.raises(FloatingPointError) as caught:
        check_finite(state.replace(params=params))
    words = "the state after step 0 is not finite, so it is not saved: params.Conv_0."
    assert str(caught.value).startswith(f"{words}kernel. What is saved is intact.")
