"""What every network promises, whatever it computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import networks, sharded, table
from support.checks import assert_close, assert_finite, compiled_gradients_of

from prm_flax import create_model

IMAGE = (32, 32, 3)


def images(dtype=jnp.float32, batch=2, seed=0, size=IMAGE):
    x = np.random.default_rng(seed).normal(size=(batch, *size))
    return jnp.asarray(x, dtype)


def inputs(model, dtype=jnp.float32, **options):
    x = images(dtype, **options)
    variables = networks.random_variables(model, x.shape[1:], dtype)
    return variables["params"], {"batch_stats": variables["batch_stats"]}, x


def quick_first(names):
    """Networks as parameters, one depth of each kind; `make test-all` has them all."""
    for name in names:
        quick = name.endswith(("resnet14", "resnet50", "mobilenet_v2"))
        yield pytest.param(name, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize("name", list(quick_first(table.MODELS)))
def test_shapes_and_dtypes(name):
    """Logits of every dtype; init returns parameters and statistics in float32."""
    model = create_model(name, num_classes=7)
    variables, logits = networks.shapes(model, IMAGE)
    assert (logits.shape, logits.dtype) == ((2, 7), jnp.float32)
    assert variables.keys() == {"params", "batch_stats"}

    low = create_model(name, num_classes=7, dtype=jnp.bfloat16)
    low_variables, logits = networks.shapes(low, IMAGE, train=True, dtype=jnp.bfloat16)
    assert (logits.shape, logits.dtype) == ((2, 7), jnp.bfloat16)
    assert low_variables == variables
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", table.RUN)
def test_training_is_finite_and_compiled_once(name):
    model = table.RUN[name]
    run = compiled_gradients_of(model)
    params, rest, x = inputs(model, batch=4)
    found = run(params, rest, x)
    assert_finite(found)
    (_, new), (gradients, _) = found
    jax.tree.map(
        lambda g, p: np.testing.assert_equal(g.dtype, p.dtype), gradients, params
    )
    run(params, new, images(batch=4, seed=1))
    assert run._cache_size() == 1


def test_jit_equals_eager(x64):
    model = create_model("prm_resnet14", num_classes=7).clone(depths=(1, 1, 1))
    params, rest, x = inputs(model, jnp.float64)

    def run(train):
        return lambda tree, x: model.apply(tree, x, train, mutable=["batch_stats"])

    for train in (False, True):
        tree = {"params": params, **rest}
        assert_close(jax.jit(run(train))(tree, x), run(train)(tree, x))


@pytest.fixture(scope="module")
def on_one_device():
    with jax.enable_x64(True):
        return gradients_on(jax.devices()[:1])


def gradients_on(devices):
    """Loss, statistics and gradients, the batch of 8 shared among the devices."""
    model = create_model("prm_resnet14", num_classes=7, batch_norm=2, groups=8)
    model = model.clone(depths=(1, 1, 1))
    params, rest, x = inputs(model, jnp.float64, batch=8, size=(8, 8, 3))
    params, rest = sharded.everywhere((params, rest), devices)
    return compiled_gradients_of(model)(params, rest, sharded.split(x, devices))


@pytest.mark.parametrize("count", [2, 4])
def test_devices_do_not_change_the_numbers(count, on_one_device, x64):
    got = gradients_on(jax.devices()[:count])
    _, (_, grad_x) = got
    assert len(grad_x.sharding.device_set) == count
    assert_close(got, on_one_device)
