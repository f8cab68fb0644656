"""Ten steps of training against the official code's, in float64.

Each training multiplies rounding errors by a factor of its own, some by ten a step, and
how an operation is rounded differs from processor to processor. So each is run once
more from a start moved by 1e-14 relative: the difference that makes is what rounding
means here, and a hundred times it is allowed where that is more than the usual bound.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import golden

from prm_flax import create_model
from prm_flax.interop.torch import from_state_dict, to_state_dict

FILES = golden.names("traj_*")
MOVED = 1e-14
MARGIN = 100


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


class Run(NamedTuple):
    """A training.

    Attributes:
        losses: before each update.
        arrays: after the last, by PyTorch's names.
    """

    losses: np.ndarray
    arrays: dict[str, np.ndarray]

    def norms(self, order):
        return np.array([np.linalg.norm(self.arrays[leaf]) for leaf in order])


def train(file, model, tx, step, variables):
    state, losses = tx.init(variables["params"]), []
    for t in range(file.meta["steps"]):
        x, labels = golden.step_data(file, t)
        x = jnp.asarray(x, jnp.float64)
        value, variables, state = step(variables, state, x, labels)
        losses.append(float(value))
    return Run(np.array(losses), to_state_dict(model, variables))


def moved(variables):
    """Every parameter moved by up to 1e-14 of itself."""
    generator = np.random.RandomState(0)
    params = jax.tree.map(
        lambda leaf: leaf * (1 + MOVED * generator.uniform(-1, 1, leaf.shape)),
        variables["params"],
    )
    return variables | {"params": params}


@functools.cache
def trained(name):
    """The training of a file, and the same from a start that is moved."""
    file = golden.load(name)
    model = create_model(file.meta["network"], ddof=1, dropout=0.0)
    start = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float64),
        from_state_dict(model, golden.state_dict(file)),
    )
    tx = optimizer(file.meta)
    step = make_step(model, tx)
    return [train(file, model, tx, step, s) for s in (start, moved(start))]


def allowed(usual, got, other):
    """The usual bound, or a hundred times what the moved start makes of the numbers."""
    return max(usual, MARGIN * np.abs(got - other).max(initial=0.0))


@pytest.mark.parametrize("name", FILES)
def test_losses(name, x64):
    run, other = trained(name)
    want = golden.load(name).arrays["losses"]
    # Of each step, what was made of the move until then.
    made = np.maximum.accumulate(np.abs(run.losses - other.losses))
    assert np.all(np.abs(run.losses - want) <= np.maximum(5e-6, MARGIN * made))
    np.testing.assert_allclose(run.losses[:4], want[:4], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FILES)
def test_final_norms(name, x64):
    file = golden.load(name)
    run, other = trained(name)
    order = [str(leaf) for leaf in file.arrays["names"]]
    assert sorted(run.arrays) == sorted(order)
    got, want = run.norms(order), file.arrays["final_norms"]
    bound = allowed(1e-6, got / want, other.norms(order) / want)
    np.testing.assert_allclose(got, want, rtol=bound)


@pytest.mark.parametrize("name", FILES)
def test_final_arrays(name, x64):
    run, other = trained(name)
    for leaf, want in golden.load(name).under("final").items():
        got = run.arrays[leaf]
        bound = allowed(1e-6, got, other.arrays[leaf])
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=bound)


@pytest.mark.parametrize("name", FILES)
def test_the_moved_start_is_another_and_only_just(name, x64):
    run, other = trained(name)
    assert 0 < abs(run.losses[0] - other.losses[0]) < 1e-11
