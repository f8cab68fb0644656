"""A network that computes in bfloat16 or float16 learns in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.nets import task, train_step

from prm_flax import create_model
from train.config import Optim
from train.optim import make_optimizer
from train.state import init_state
from train.tasks.mixup import make_mix
from train.tasks.task import normalize

IMAGE = (8, 8, 1)


@functools.cache
def model_of(dtype):
    """Of one block a stage, with every option of precision's concern."""
    options = {"batch_norm": 2, "zero_init": True, "remat": True}
    model = create_model(
        "prm_resnet14", 10, groups=4, stem="3x3_stride2", dtype=dtype, **options
    )
    return model.clone(depths=(1, 1, 1))


def watched(optimizer, gradients):
    """The optimiser, which notes the gradients' dtypes."""

    def update(grads, state, params):
        gradients.extend(leaf.dtype for leaf in jax.tree.leaves(grads))
        return optimizer.update(grads, state, params)

    return optax.GradientTransformation(optimizer.init, update)


def step_and_init(dtype, name, gradients):
    """A step with everything on, and what makes its first state."""
    optim = Optim(optimizer=name, clip_norm=1.0, no_decay=("norms",))
    optimizer = watched(make_optimizer(optim, lambda step: jnp.float32(0.1)), gradients)
    prepare = functools.partial(normalize, mean=(0.5,), std=(0.5,))
    options = {"accumulate": 2, "ema": 0.9, "mix": make_mix(0.2, 1.0)}
    model = model_of(dtype=dtype)
    step = train_step(model, optimizer, prepare, **options)
    scaled = {"ema": True, "loss_scale": dtype == jnp.float16}
    return step, functools.partial(
        init_state, task(model, image_shape=IMAGE), optimizer, 0, **scaled
    )


def images():
    generator = np.random.default_rng(0)
    return {
        "image": generator.integers(0, 256, (8, *IMAGE), np.uint8),
        "label": generator.integers(0, 10, 8, np.int32),
    }


@pytest.mark.parametrize("name", ["sgd", "lars"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_all_that_is_kept_is_float32(dtype, name):
    gradients = []
    step, init = step_and_init(dtype, name, gradients)
    state = jax.eval_shape(init)
    after = jax.eval_shape(step, state, images())
    assert set(gradients) == {jnp.dtype(jnp.float32)}
    assert jax.tree.structure(after) == jax.tree.structure(state)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(after)}
    assert dtypes == {jnp.dtype(jnp.float32), jnp.dtype(jnp.int32)}  # counters
    pixels = jax.ShapeDtypeStruct((1, *IMAGE), jnp.float32)
    logits = jax.eval_shape(model_of(dtype=dtype).apply, state.variables, pixels)
    assert logits.dtype == dtype


@pytest.mark.parametrize(
    "dtype", [jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.slow)]
)
def test_steps_are_finite_and_move_every_layer(dtype):
    step, init = step_and_init(dtype, "sgd", [])
    jitted, state = jax.jit(step), jax.jit(init)()
    after = state
    for _ in range(8):  # the first few may only halve float16's scale
        after = jitted(after, images())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), state.params, after.params)
    leaves = jax.tree_util.tree_leaves_with_path(same)
    moved = {path[-2].key for path, stays in leaves if not stays}
    assert moved == {path[-2].key for path, _ in leaves}
