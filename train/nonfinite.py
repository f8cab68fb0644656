"""The search for where an update went wrong: in which layer, with which images."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from prm_flax.layers.device import portable
from train.checkpoints.leaves import dotted
from train.state import TrainState
from train.step import finite, step_keys
from train.tasks.task import Batch, Task

# Images and arrays that a message lists.
SHOWN = 8


class Finite(NamedTuple):
    """What is finite in a training step.

    Attributes:
        state: path of each parameter and running statistic -> (), before the step.
        images: (b,) each prepared image.
        layers: name of each layer -> (b,) its output for each image.
        losses: (b,) each image's loss.
        statistics: path of each running statistic -> (), after the step.
        gradients: path of each parameter -> () its gradient.
        sources: (b,) the gradient of the loss by each prepared image.
    """

    state: dict[str, Any]
    images: Any
    layers: dict[str, Any]
    losses: Any
    statistics: dict[str, Any]
    gradients: dict[str, Any]
    sources: Any


def explain(finite: Finite, order: list[str]) -> tuple[str, np.ndarray]:
    """What went wrong first, and which images (b,) were all right there."""
    every = np.ones_like(finite.losses)
    if bad := _bad(finite.state):
        return f"not finite before it: {listed(bad)}", every
    loss = "finite" if finite.losses.all() else "not finite"
    if not finite.images.all():
        return f"the loss is {loss}; the prepared images are not finite", finite.images
    for name in order:
        if not (rows := finite.layers.get(name, every)).all():
            what = f"the loss is {loss}; first bad layer: {name or 'the network'}"
            return f"{what} (output)", _fewer(rows, finite.losses)
    if not finite.losses.all():
        return "the loss is not finite, the logits are", finite.losses
    if bad := _bad(finite.statistics):
        return f"the loss is finite; not finite: {listed(bad)}", every
    if bad := _bad(finite.gradients):
        last = max((path.rpartition("/")[0] for path in bad), key=_place_in(order))
        what = f"the loss is finite; first bad layer: {last} (gradient)"
        return what, finite.sources
    return (
        "loss and gradients are finite when they are computed again, so the update "
        "was too large (lower optim.peak_lr) or a device erred",
        every,
    )


def named(index: np.ndarray, bad: np.ndarray) -> str:
    """The part of a message that names the bad images, of those with numbers (b,)."""
    if not bad.any():
        return ""
    if bad.all():
        return f"; images: all {len(index)}"
    return f"; images: {listed([str(i) for i in index[bad]])}"


def _bad(finite: Mapping[str, Any]) -> list[str]:
    return [name for name, fine in finite.items() if not fine]


def _fewer(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of two (b,) the one with fewer bad images, but some.

    A bad image spoils the others of its batch-norm run from there on; a layer may be
    bad for all images, but the loss for those of one class only.
    """
    return other if one.sum() < other.sum() < len(other) else one


def _place_in(order: list[str]) -> Callable[[str], int]:
    places = {name: place for place, name in enumerate(order)}
    return lambda name: places.get(name, -1)


def listed(names: list[str]) -> str:
    """The first few names."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


class Recorder:
    """A network that keeps what its layers put out, see `outputs`.

    Args:
        model: the network.
    """

    def __init__(self, model: nn.Module):
        self.model, self.outputs = model, {}

    def apply(
        self, variables: Any, *args: Any, mutable: Sequence[str] = (), **options: Any
    ):
        """As the network's, which it calls."""
        result, new = self.model.apply(
            variables,
            *args,
            mutable=[*mutable, "intermediates"],
            capture_intermediates=lambda _, method: method == "__call__",
            **options,
        )
        self.outputs = new["intermediates"]
        changed = {name: tree for name, tree in new.items() if name in mutable}
        return (result, changed) if mutable else result

    def __getattr__(self, name: str) -> Any:
        """What else is asked of a network."""
        return getattr(self.model, name)


def make_diagnosis(task: Any, seed: int = 0) -> Callable[[TrainState, Batch], str]:
    """Makes `diagnose(state, batch) -> message` for a state that `guarded` stopped.

    It computes the step again, without its update and in one part. The first bad layer
    is the first whose output is not finite; where all are, the last in this order whose
    gradient is not, to which the backward computation comes first: the fault is in its
    derivative, or in that of what follows it.

    Args:
        task: as for `make_train_step`.
        seed: see there.

    Returns:
        The function. The batch is that of step `state.bad_step`, with index (b,), the
        examples' numbers in the data set. State and batch are on devices of this
        process, where a training step of the batch finds room. Units are dropped as in
        a step in one part under jit.
    """

    @jax.jit
    def look(state: TrainState, batch: Batch) -> Finite:
        key, mixing = step_keys(seed, state.step)
        examples = task.prepare(mixing, batch)

        def loss(params, inputs):
            recorder = Recorder(task.model)
            recorded = dataclasses.replace(task, model=recorder)
            total, (losses, new, _) = recorded.loss(
                params, state.batch_stats, examples | inputs, key
            )
            return total, (losses, new, recorder.outputs)

        inputs = {name: examples[name] for name in task.inputs}
        differentiate = jax.grad(loss, argnums=(0, 1), has_aux=True)
        (grads, sources), (losses, new, outputs) = differentiate(state.params, inputs)
        b = len(next(iter(inputs.values())))
        return Finite(
            _finite_leaves(state.variables),
            _finite_rows(inputs, b),
            _finite_layers(outputs, b),
            _finite_rows(losses, b),
            _finite_leaves(new),
            _finite_leaves(grads),
            _finite_rows(sources, b),
        )

    def diagnose(state: TrainState, batch: Batch) -> str:
        used = {name: batch[name] for name in task.shapes(0)}
        finite = jax.device_get(look(state, used))
        order = layers_in_order(task, state.variables, used)
        what, rows = explain(finite, order)
        images = named(np.asarray(batch["index"]), ~rows)
        return f"step {int(state.step) + 1}: {what}{images}"

    return diagnose


def layers_in_order(task: Task, variables: Any, batch: Batch) -> list[str]:
    """The names of all layers, "" for the network, in the order in which they end.

    What `nn.remat` hands on is sorted by name, so the order is watched.
    """
    order: list[str] = []

    def note(call, args, kwargs, context):
        result = call(*args, **kwargs)
        if context.method_name == "__call__":
            order.append("/".join(context.module.path))
        return result

    def predict(variables, batch):
        return task.predict(variables, task.prepare(None, batch))

    with portable(), nn.intercept_methods(note):
        jax.eval_shape(predict, variables, batch)
    return list(dict.fromkeys(order))


def _finite_leaves(tree: Any) -> dict[str, jax.Array]:
    leaves: dict[str, Any] = flatten_dict(tree, sep="/")
    return {name: jnp.isfinite(leaf).all() for name, leaf in leaves.items()}


def _finite_rows(arrays: Mapping[str, jax.Array], b: int) -> jax.Array:
    """Which examples (b,) are finite in all arrays; a () counts for each of them."""
    rows = [
        jnp.isfinite(array).reshape(b, -1).all(1)
        if array.shape[:1] == (b,)
        else jnp.full(b, jnp.isfinite(array).all())
        for array in arrays.values()
    ]
    return jnp.stack(rows).all(0)


def _finite_layers(intermediates: Mapping[str, Any], b: int) -> dict[str, jax.Array]:
    """Name of each layer -> (b,), of all the arrays in its output that have b rows."""
    found = {}
    for path, output in flatten_dict(intermediates).items():
        arrays = [a for a in jax.tree.leaves(output) if a.shape[:1] == (b,)]
        # PRM keeps its maps here too.
        if path[-1] == "__call__" and arrays:
            rows = jnp.stack([_finite_rows({"": array}, b) for array in arrays])
            found["/".join(path[:-1])] = rows.all(0)
    return found


_finite = jax.jit(finite)


def check_finite(state: TrainState) -> None:
    """Raises FloatingPointError that names the arrays that are not finite, if any."""
    if _finite(state):
        return
    leaves = jax.tree_util.tree_flatten_with_path(state)[0]
    bad = [dotted(path) for path, leaf in leaves if not _finite(leaf)]
    raise FloatingPointError(
        f"the state after step {int(state.step)} is not finite, so it is not saved: "
        f"{listed(bad)}. What is saved is intact. Lower optim.peak_lr or lengthen "
        "optim.warmup_epochs, with a new --workdir."
    )
