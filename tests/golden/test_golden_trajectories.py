"""Ten steps of training against the official code's, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import golden

from prm_flax import create_model
from prm_flax.interop.torch import from_state_dict, to_state_dict

FILES = golden.names("traj_*")


def optimizer(meta):
    """PyTorch's SGD: decay of every parameter inside the momentum."""
    return optax.chain(
        optax.add_decayed_weights(meta["weight_decay"]),
        optax.sgd(meta["lr"], meta["momentum"], nesterov=meta["nesterov"]),
    )


def make_step(model, tx):
    @jax.jit
    def step(variables, state, x, labels):
        def loss(params):
            both = variables | {"params": params}
            logits, new = model.apply(both, x, train=True, mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), new

        (value, new), gradients = jax.value_and_grad(loss, has_aux=True)(
            variables["params"]
        )
        updates, state = tx.update(gradients, state, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        return value, {"params": params, **new}, state

    return step


@functools.cache
def trained(name):
    """Losses before each update, and the arrays by PyTorch's names after the last."""
    file = golden.load(name)
    model = create_model(file.meta["network"], ddof=1, dropout=0.0)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float64),
        from_state_dict(model, golden.state_dict(file)),
    )
    tx = optimizer(file.meta)
    step, state = make_step(model, tx), tx.init(variables["params"])
    losses = []
    for t in range(file.meta["steps"]):
        x, labels = golden.step_data(file, t)
        x = jnp.asarray(x, jnp.float64)
        value, variables, state = step(variables, state, x, labels)
        losses.append(float(value))
    return np.array(losses), to_state_dict(model, variables)


@pytest.mark.parametrize("name", FILES)
def test_losses(name, x64):
    losses, _ = trained(name)
    want = golden.load(name).arrays["losses"]
    np.testing.assert_allclose(losses, want, rtol=0, atol=5e-6)
    np.testing.assert_allclose(losses[:4], want[:4], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FILES)
def test_final_norms(name, x64):
    file = golden.load(name)
    _, arrays = trained(name)
    order = [str(leaf) for leaf in file.arrays["names"]]
    assert sorted(arrays) == sorted(order)
    norms = [np.linalg.norm(arrays[leaf]) for leaf in order]
    np.testing.assert_allclose(norms, file.arrays["final_norms"], rtol=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_final_arrays(name, x64):
    _, arrays = trained(name)
    for leaf, want in golden.load(name).under("final").items():
        np.testing.assert_allclose(arrays[leaf], want, rtol=1e-6, atol=1e-6)
