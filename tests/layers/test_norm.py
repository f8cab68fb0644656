"""Batch norm over runs of n images: the numbers, and where they are computed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import hlo, sharded

from prm_flax.layers.norm import BatchNorm

SHAPE = (8, 3, 5, 4)
EPSILON, MOMENTUM = 1e-3, 0.75


def batch(seed=0):
    return np.random.default_rng(seed).normal(2, 3, size=SHAPE)


def variables(dtype=jnp.float64):
    scale, bias, mean, spread = np.random.default_rng(1).normal(size=(4, SHAPE[-1]))
    tree = {
        "params": {"scale": scale, "bias": bias},
        "batch_stats": {"mean": mean, "var": 1 + spread**2},
    }
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def norm(images, **options):
    return BatchNorm(images, MOMENTUM, EPSILON, **options)


@functools.cache
def program(images):
    """(variables, x) -> y, running statistics, gradients of sum(y²) in both."""

    @jax.jit
    def run(variables, x):
        def loss(params, x):
            tree = variables | {"params": params}
            y, new = norm(images).apply(tree, x, train=True, mutable=["batch_stats"])
            return jnp.sum(y**2 * jnp.arange(y.size).reshape(y.shape)), (y, new)

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(variables["params"], x)

    return run


def expected(x, tree, images):
    """PyTorch's batch norm, applied to each run on its own; statistics averaged."""
    p, old = tree["params"], tree["batch_stats"]
    y, means, variances = [], [], []
    for run in np.split(x, len(x) // images):
        means.append(run.mean((0, 1, 2)))
        variances.append(run.var((0, 1, 2), ddof=1))
        normed = (run - means[-1]) / np.sqrt(run.var((0, 1, 2)) + EPSILON)
        y.append(normed * p["scale"] + p["bias"])
    mean = MOMENTUM * old["mean"] + (1 - MOMENTUM) * np.mean(means, 0)
    var = MOMENTUM * old["var"] + (1 - MOMENTUM) * np.mean(variances, 0)
    return np.concatenate(y), {"mean": mean, "var": var}


@pytest.mark.parametrize("images", [1, 2, 4, 8, "global"])
def test_runs_are_normalised_on_their_own(images, x64):
    x, tree = batch(), variables()
    (_, (y, new)), _ = program(images)(tree, jnp.asarray(x))
    want_y, want = expected(x, tree, 8 if images == "global" else images)
    np.testing.assert_allclose(y, want_y, rtol=1e-10, atol=1e-12)
    for name, value in want.items():
        np.testing.assert_allclose(new["batch_stats"][name], value, rtol=1e-10)


@pytest.mark.parametrize("images", [2, 4, "global"])
def test_devices_do_not_change_the_numbers(images, devices, x64):
    x, tree = jnp.asarray(batch()), variables()
    got = program(images)(sharded.everywhere(tree, devices), sharded.split(x, devices))
    want = program(images)(tree, x)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), got, want
    )


def compiled_forward(images, devices):
    tree = sharded.everywhere(variables(jnp.float32), devices)
    x = sharded.split(jnp.asarray(batch(), jnp.float32), devices)

    def forward(tree, x):
        y, _ = norm(images).apply(tree, x, train=True, mutable=["batch_stats"])
        return y

    return jax.jit(forward, out_shardings=x.sharding).lower(tree, x).compile()


@pytest.mark.usefixtures("compiled_anew")
@pytest.mark.parametrize("images", [1, 2])
def test_no_communication_when_a_run_lies_on_one_device(images, devices):
    assert hlo.collectives(compiled_forward(images, devices)) == set()


@pytest.mark.usefixtures("compiled_anew")
@pytest.mark.parametrize("images", [8, "global"])
def test_a_run_on_several_devices_is_reduced_over_them(images):
    """The counterpart of the test above: the search finds what is there."""
    assert "all-reduce" in hlo.collectives(compiled_forward(images, jax.devices()[:4]))


def test_inference_uses_the_running_statistics(x64):
    x, tree = batch(), variables()
    y, new = norm(2).apply(tree, jnp.asarray(x), mutable=["batch_stats"])
    p, old = tree["params"], tree["batch_stats"]
    want = (x - old["mean"]) / np.sqrt(old["var"] + EPSILON) * p["scale"] + p["bias"]
    np.testing.assert_allclose(y, want, rtol=1e-10)
    jax.tree.map(np.testing.assert_array_equal, new["batch_stats"], old)


def test_a_batch_that_is_no_multiple():
    x = jnp.ones((6, 1, 1, 4))
    with pytest.raises(ValueError, match=r"multiple .*batch 6, batch_norm=4"):
        norm(4).apply(variables(jnp.float32), x, train=True, mutable=["batch_stats"])


@pytest.mark.parametrize("train", [False, True])
def test_init_takes_any_batch_and_moves_nothing(train):
    x = jnp.full((3, 1, 1, 4), 7.0)
    tree = norm(4).init(jax.random.key(0), x, train=train)
    want = {
        "params": {"scale": np.ones(4), "bias": np.zeros(4)},
        "batch_stats": {"mean": np.zeros(4), "var": np.ones(4)},
    }
    jax.tree.map(np.testing.assert_array_equal, tree, want)


def test_bfloat16_with_a_large_mean():
    """The spread of 1 around 64 survives: bfloat16 has steps of ½ there."""
    x = jnp.asarray(64 + np.random.default_rng(0).normal(size=(8, 8, 8, 4)), "bfloat16")
    tree = norm(4).init(jax.random.key(0), x)
    y, new = norm(4, dtype="bfloat16").apply(
        tree, x, train=True, mutable=["batch_stats"]
    )
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype("float32")}
    exact = np.asarray(x, np.float64)
    want, statistics = expected(exact, tree, 4)
    np.testing.assert_allclose(y.astype("float32"), want, rtol=0.01, atol=0.01)
    np.testing.assert_allclose(new["batch_stats"]["var"], statistics["var"], rtol=1e-3)


def test_float16_whose_squares_it_cannot_hold():
    """Squares of 1000 are beyond 65504."""
    x = jnp.asarray(1000 * np.random.default_rng(0).normal(size=SHAPE), "float16")
    tree = norm(4).init(jax.random.key(0), x)
    y, new = norm(4, dtype="float16").apply(
        tree, x, train=True, mutable=["batch_stats"]
    )
    assert y.dtype == jnp.float16
    want, statistics = expected(np.asarray(x, np.float64), tree, 4)
    np.testing.assert_allclose(y.astype("float32"), want, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(new["batch_stats"]["var"], statistics["var"], rtol=1e-5)


@pytest.mark.parametrize("x_dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("dtype", [None, "bfloat16", "float32"])
@pytest.mark.parametrize("train", [False, True])
def test_dtype_of_the_result(train, dtype, x_dtype):
    x = jnp.ones((4, 1, 1, 4), x_dtype)
    y, _ = norm(2, dtype=dtype).apply(
        variables(jnp.float32), x, train=train, mutable=["batch_stats"]
    )
    assert y.dtype == jnp.dtype(dtype or "float32")
