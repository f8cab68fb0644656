"""Whole networks against the official code's numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import golden

from prm_flax import create_model
from prm_flax.interop.torch import from_state_dict, to_state_dict

EVAL_FILES = golden.names("net_*_eval", *golden.RELATED)
TRAIN_FILES = golden.names("net_*_train", *golden.RELATED)
# At the papers' size one network is enough for a change: the others' are there at 64².
# The compared modules have files of their own.
LATER = [n for n in EVAL_FILES if "224x224" in n and "resnet18" not in n]
LATER += [n for n in EVAL_FILES if n.split("_")[1] in ("se", "ge", "cbam", "gc", "sge")]
STAGES = [n for n in EVAL_FILES if any(golden.load(n).under("stage"))]
QUERIES = [n for n in EVAL_FILES if any(golden.load(n).under("query_rc"))]


@functools.cache
def network(name):
    """A network with the official code's σ, and variables by the files' rule."""
    file = golden.load(name)
    options = {"ddof": 1} if name.startswith("net_prm_") else {}
    model = create_model(file.meta["network"], **options)
    return model, golden.state_dict(file)


@functools.cache
def evaluated(name, dtype):
    """Logits, stages' features and sown maps of an eval file."""
    file = golden.load(name)
    model, weights = network(name)
    stages = model.clone(features_only=True) if name in STAGES else None
    variables = as_dtype(from_state_dict(model, weights), dtype)

    @jax.jit
    def run(variables, x):
        logits, state = model.apply(variables, x, mutable=["intermediates"])
        features = stages.apply(variables, x) if stages else {}
        return logits, features, state.get("intermediates", {})

    return run(variables, jnp.asarray(golden.images(file), dtype))


def as_dtype(tree, dtype):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


def assert_logits(got, file, share):
    want = file.arrays["logits"]
    assert np.abs(np.asarray(got) - want).max() <= share * want.std()


@pytest.mark.parametrize("name", golden.parameters(EVAL_FILES + TRAIN_FILES, LATER))
def test_parameters_follow_the_rule(name):
    file, (_, weights) = golden.load(name), network(name)
    first = weights[str(file.arrays["names"][0])].ravel()[:16]
    np.testing.assert_array_equal(first, file.arrays["check_first_parameter"])


@pytest.mark.parametrize("name", golden.parameters(EVAL_FILES, LATER))
def test_logits_float64(name, x64):
    logits, _, _ = evaluated(name, jnp.float64)
    assert logits.dtype == jnp.float64
    assert_logits(logits, golden.load(name), 1e-8)


# One at 224² is enough: what float32 loses there is no more than at 64². And one of
# them all for a change, which float64 guards.
FLOAT32 = [n for n in EVAL_FILES if "64x64" in n or n.startswith("net_prm_resnet18")]
GUARD = "net_prm_resnet18_64x64_b2_eval"


@pytest.mark.parametrize("name", golden.all_but([GUARD], FLOAT32))
def test_logits_float32(name):
    logits, _, _ = evaluated(name, jnp.float32)
    assert logits.dtype == jnp.float32
    assert_logits(logits, golden.load(name), 1e-4)


@pytest.mark.parametrize("name", golden.parameters(STAGES, LATER))
def test_stages_float64(name, x64):
    _, features, _ = evaluated(name, jnp.float64)
    for k, want in golden.load(name).under("stage").items():
        got = features[k.replace("layer", "stage")][..., :32].mean((1, 2))
        assert np.abs(got - want).max() <= 1e-8 * want.std()


@pytest.mark.parametrize("name", golden.parameters(QUERIES, LATER))
def test_sown_maps_float64(name, x64):
    file = golden.load(name)
    _, _, sown = evaluated(name, jnp.float64)
    maps = maps_by_torch_name(sown)
    queries, masks = file.under("query_rc"), file.under("pos_mask")
    assert maps.keys() == queries.keys() == masks.keys()
    for module, map_ in maps.items():
        np.testing.assert_array_equal(map_.query, queries[module])
        mask = map_.position.mean(-1)
        np.testing.assert_allclose(mask, masks[module], rtol=1e-6, atol=1e-6)


def maps_by_torch_name(sown):
    return {
        f"{block.replace('_', '.')}.prm": modules["prm"]["maps"][0]
        for block, modules in sown.items()
    }


@functools.cache
def trained(name, dtype):
    """Logits, then gradients of sum(logits·r) and new statistics by PyTorch's names."""
    file = golden.load(name)
    model, weights = network(name)
    variables = as_dtype(from_state_dict(model, weights), dtype)
    x, r = as_dtype((golden.images(file), golden.cotangent(file)), dtype)

    @jax.jit
    def run(params, batch_stats):
        def loss(params):
            both = {"params": params, "batch_stats": batch_stats}
            logits, new = model.apply(both, x, train=True, mutable=["batch_stats"])
            return (logits * r).sum(), (logits, new)

        return jax.grad(loss, has_aux=True)(params)

    gradients, (logits, new) = run(**variables)
    return logits, to_state_dict(model, {"params": gradients, **new})


@pytest.mark.parametrize("name", TRAIN_FILES)
def test_training_call_float64(name, x64):
    file = golden.load(name)
    logits, arrays = trained(name, jnp.float64)
    assert_logits(logits, file, 1e-8)
    wanted = file.under("grad") | file.under("buffer_after")
    assert any("running_var" in name for name in wanted)
    for name, want in wanted.items():  # stored as float32
        np.testing.assert_allclose(arrays[name], want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", TRAIN_FILES)
def test_training_call_float32(name):
    logits, _ = trained(name, jnp.float32)
    assert_logits(logits, golden.load(name), 1e-3)
