"""Time on this machine against others' programs, in turn, in one process."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from benchmarks import flax_example, wall
from benchmarks.layer import MAPS, PASSES
from benchmarks.results import Row
from benchmarks.steps import PLAIN
from benchmarks.timing import alternate
from prm_flax import PRMParams, recalibrate
from train import sharding
from train.experiment import Experiment
from train.optim import make_optimizer
from train.state import init_state
from train.step import make_train_step

PACKAGES = (*wall.PACKAGES, "torch")
TIMED = True
GROUPS, ROUNDS = 64, 15
NETWORK = "training step of ResNet-50, Flax's example"
# Largest difference of the two layers' results, float32.
CLOSE = 1e-4


def cases() -> dict[str, Callable[[], Row]]:
    """PyTorch's layer at four maps, forward and with the backward pass; one network."""
    layers = {
        f"layer {h}×{w}×{c} {which}, PyTorch": partial(_layers, (h, w, c), which)
        for h, w, c in MAPS
        for which in PASSES
    }
    return {NETWORK: _networks} | layers


def _layers(shape: tuple[int, int, int], which: str) -> Row:
    """This project's layer and the same under PyTorch, 8 images, float32."""
    try:
        from benchmarks import torch_layer
    except ImportError as error:
        raise ValueError(f"{error}: make bench installs what peers need.") from error
    x, dy, params = _numbers(shape)
    number = PASSES.index(which)
    theirs = torch_layer.layer(x, params, dy)[number]
    ours = _ours(x, params, dy)[number]
    found = torch_layer.channels_last(theirs())
    apart = float(np.abs(found - jax.tree.leaves(ours())[0]).max())
    if not apart < CLOSE:
        raise ValueError(f"the layers' results must agree to {CLOSE}, got {apart}.")
    return alternate({"theirs": theirs, "ours": ours}, ROUNDS)


def _numbers(shape) -> tuple[np.ndarray, np.ndarray, PRMParams]:
    random = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    alpha, beta, lam, xi, theta = map(draw, (GROUPS,) * 4 + (2,))
    leaves = alpha, beta, lam, xi, np.abs(theta), np.float32(1.5)
    params = PRMParams(*map(jnp.asarray, leaves))
    images = (wall.IMAGES, *shape)
    return draw(*images), draw(*images), params


def _ours(x, params, dy) -> tuple[Callable[[], Any], Callable[[], Any]]:
    @jax.jit
    def both(x, params, dy):
        y, pull = jax.vjp(recalibrate, x, params)
        return y, pull(dy)

    forward = jax.jit(recalibrate)
    x, params, dy = jax.device_put((x, params, dy))
    return lambda: forward(x, params), lambda: both(x, params, dy)


def _networks() -> Row:
    """Theirs, then ours: the same step, loss and optimiser round two networks."""
    ours = wall.experiment(PLAIN)
    ways = {
        "theirs": wall.Training(_with_their_network(ours)),
        "ours": wall.Training(ours),
    }
    return alternate(ways, ROUNDS)


def _with_their_network(ours: Experiment) -> Experiment:
    config, model = ours.config, flax_example.models().ResNet50(num_classes=1000)
    optimizer = make_optimizer(config.optim, ours.schedule)
    task = dataclasses.replace(ours.task, model=model)  # pyright: ignore
    step = partial(make_train_step(task, optimizer), axis="batch")
    init = partial(init_state, task, optimizer, config.seed)
    # Its batch norm wants an axis of this name.
    mesh = jax.make_mesh((1,), ("batch",), devices=jax.devices()[:1])
    whole, shared = PartitionSpec(), PartitionSpec("batch")
    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(whole, shared), out_specs=whole, check_vma=False
    )
    return ours._replace(
        init=sharding.make_init(mesh, init),
        put=partial(jax.device_put, device=jax.NamedSharding(mesh, shared)),
        train_step=jax.jit(mapped, donate_argnums=0),
    )
