"""The search for where an update went wrong: in which layer, with which images."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from prm_flax.layers.device import portable
from train.findings import Finite, explain, named
from train.gradients import make_loss
from train.mixup import Mix
from train.state import TrainState
from train.step import Batch, make_examples


def make_diagnosis(
    model: nn.Module,
    prepare: Callable[[jax.Array], jax.Array],
    *,
    label_smoothing: float = 0.0,
    seed: int = 0,
    mix: Mix | None = None,
) -> Callable[[TrainState, Batch], str]:
    """Makes `diagnose(state, batch) -> message` for a state that `guarded` stopped.

    It computes the step again, without its update and in one part. The first bad layer
    is the first whose output is not finite; where all are, the last in this order whose
    gradient is not, to which the backward computation comes first: the fault is in its
    derivative, or in that of what follows it.

    Args:
        model: as for `make_train_step`, like all arguments.
        prepare: see there.
        label_smoothing: see there.
        seed: see there.
        mix: see there.

    Returns:
        The function. The batch is that of step `state.bad_step`, with index (b,), the
        images' numbers in the data set. State and batch are on devices of this process,
        where a training step of the batch finds room. Units are dropped as in a step in
        one part under jit.
    """
    loss_of = make_loss(model, label_smoothing)
    examples_of = make_examples(model, prepare, seed, mix)

    @jax.jit
    def look(state: TrainState, batch: Batch) -> Finite:
        examples, key = examples_of(state.step, batch)

        def loss(params, images):
            return loss_of(
                params,
                state.batch_stats,
                examples | {"image": images},
                key,
                mutable=["batch_stats", "intermediates"],
                capture_intermediates=lambda _, method: method == "__call__",
            )

        differentiate = jax.grad(loss, argnums=(0, 1), has_aux=True)
        (grads, sources), (losses, new, _) = differentiate(
            state.params, examples["image"]
        )
        return Finite(
            _finite(state.variables),
            _finite_rows(examples["image"]),
            _finite_layers(new["intermediates"], len(losses)),
            _finite_rows(losses),
            _finite(new.get("batch_stats", {})),
            _finite(grads),
            _finite_rows(sources),
        )

    def diagnose(state: TrainState, batch: Batch) -> str:
        used = {name: batch[name] for name in ("image", "label")}
        finite = jax.device_get(look(state, used))
        order = layers_in_order(model, state.variables, prepare, used["image"])
        what, rows = explain(finite, order)
        images = named(np.asarray(batch["index"]), ~rows)
        return f"step {int(state.step) + 1}: {what}{images}"

    return diagnose


def layers_in_order(model: nn.Module, variables, prepare, images) -> list[str]:
    """The names of all layers, "" for the network, in the order in which they end.

    What `nn.remat` hands on is sorted by name, so the order is watched.
    """
    order: list[str] = []

    def note(call, args, kwargs, context):
        result = call(*args, **kwargs)
        if context.method_name == "__call__":
            order.append("/".join(context.module.path))
        return result

    with portable(), nn.intercept_methods(note):
        jax.eval_shape(lambda v, x: model.apply(v, prepare(x)), variables, images)
    return list(dict.fromkeys(order))


def _finite(tree: Any) -> dict[str, jax.Array]:
    leaves: dict[str, Any] = flatten_dict(tree, sep="/")
    return {name: jnp.isfinite(leaf).all() for name, leaf in leaves.items()}


def _finite_rows(array: jax.Array) -> jax.Array:
    return jnp.isfinite(array).reshape(array.shape[0], -1).all(1)


def _finite_layers(intermediates: Mapping[str, Any], b: int) -> dict[str, jax.Array]:
    """Name of each layer -> (b,), of all the arrays in its output that have b rows."""
    found = {}
    for path, output in flatten_dict(intermediates).items():
        arrays = [a for a in jax.tree.leaves(output) if a.shape[:1] == (b,)]
        # PRM keeps its maps here too.
        if path[-1] == "__call__" and arrays:
            rows = jnp.stack([_finite_rows(array) for array in arrays])
            found["/".join(path[:-1])] = rows.all(0)
    return found
