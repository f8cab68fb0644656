"""One update and one evaluation, as pure functions of state and batch."""

import functools
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from train.state import LossScale, TrainState, moved_average
from train.tasks.metrics import Metrics, cross_entropy, measure
from train.tasks.mixup import Mix

Examples = dict[str, jax.Array]
Found = tuple[Any, Any, Metrics]  # gradients, batch_stats, metrics
Gradients = Callable[[dict[str, Any], Examples, jax.Array], Found]


def make_loss(model: nn.Module, label_smoothing: float):
    """Makes `(params, batch_stats, examples, key) -> (mean loss, aux)`, for training.

    aux is each image's loss (b,), what the call changed (batch_stats among it) and the
    metrics. The examples hold image (b, h, w, c), label (b,), which the metrics count,
    and target, labels or shares of the classes (b, k), for the loss. Options are those
    of `model.apply`.
    """

    def loss_of(params, batch_stats, examples, key, **options):
        wanted: dict[str, Any] = {"mutable": ["batch_stats"]} | options
        applied: Any = model.apply(
            {"params": params, "batch_stats": batch_stats},
            examples["image"],
            train=True,
            rngs={"dropout": key},
            **wanted,
        )
        logits, new = applied
        losses = cross_entropy(logits, examples["target"], label_smoothing)
        metrics = measure(losses, logits, examples["label"])
        return losses.mean(), (losses, new, metrics)

    return loss_of


def make_gradients(model: nn.Module, label_smoothing: float) -> Callable[..., Found]:
    """Makes `(variables, examples, dropout key) -> (gradients, batch_stats, metrics)`.

    The examples are those of `make_loss`. With a `loss_scale` the gradients are those
    of the scaled loss, divided by the scale: the same, but for what float16 rounds to 0
    or to infinity.
    """
    loss_of = make_loss(model, label_smoothing)

    def gradients_of(variables, examples, key, loss_scale: LossScale | None = None):
        function = loss_of if loss_scale is None else loss_scale.scaled(loss_of)
        grads, (_, new, metrics) = jax.grad(function, has_aux=True)(
            variables["params"], variables["batch_stats"], examples, key
        )
        if loss_scale is not None:
            grads = loss_scale.unscaled(grads)
        return grads, new.get("batch_stats", {}), metrics

    return gradients_of


def in_parts(gradients_of: Gradients, parts: int, shards: int) -> Gradients:
    """Makes a `gradients_of` that goes through its examples in parts.

    Gradients are those of the mean loss, and running statistics follow as
    `momentum · old + (1 - momentum) · new`. So when every part starts from the same old
    ones, and batch norm's runs of n images are whole, the means over the parts are the
    undivided batch's.

    Args:
        gradients_of: `(variables, examples, dropout key) -> (gradients, batch_stats,
            metrics)`.
        parts: k; with 1 the function is handed back as it is.
        shards: devices that share the examples.

    Returns:
        The function. Its examples (b, …) must be a multiple of k · shards, and
        b / (k · shards) one of n; every part drops other units. Under jit the compiler
        may add gradients up over the devices after every part, under pmap it cannot.
    """
    if parts == 1:
        return gradients_of

    def gradients_in_parts(variables, examples, key):
        def add(sums, part):
            number, examples = part
            part_key = jax.random.fold_in(key, number)
            grads, stats, metrics = gradients_of(variables, examples, part_key)
            return jax.tree.map(jnp.add, sums, (grads, stats)), metrics

        none = jax.tree.map(
            jnp.zeros_like, (variables["params"], variables["batch_stats"])
        )
        slices = {
            name: part_slices(array, parts, shards) for name, array in examples.items()
        }
        sums, metrics = lax.scan(add, none, (jnp.arange(parts), slices))
        grads, stats = jax.tree.map(lambda total: total / parts, sums)
        return grads, stats, metrics.reduce()

    return gradients_in_parts


def part_slices(array: jax.Array, parts: int, shards: int) -> jax.Array:
    """(b, …) -> (k, b/k, …): part j is the j-th slice of every device's share.

    A device's share is b / shards consecutive images, so none moves to another.

    Raises:
        ValueError: a share does not divide into the parts.
    """
    if array.shape[0] % (parts * shards):
        raise ValueError(
            f"A batch must be a multiple of parts · devices to be accumulated: "
            f"{array.shape[0]} images, {parts} parts, {shards} devices. Change "
            "batch_size or optim.accumulate."
        )
    shares = array.reshape(shards, parts, -1, *array.shape[1:])
    return shares.swapaxes(0, 1).reshape(parts, -1, *array.shape[1:])


def guarded(
    state: TrainState,
    found: Any,
    update: Callable[[TrainState, Any], TrainState],
    skip_bad_steps: int,
) -> TrainState:
    """The state after an update, if all that the update is made from is finite.

    One that is not leaves every array of the state as it was and

    * the first `skip_bad_steps` of a run: counts as a step, so that the next batch is
      another one, and in `skipped`;
    * the next: is written to `bad_step`, after which nothing changes any more.

    Nothing here waits for the devices: whoever looks at the state, steps later, finds
    the one before the bad update. (Finite gradients can still make a parameter that is
    not, by a rate beyond all measure: `check_finite` before a state is saved.)

    If gradients alone are not finite and the loss was scaled by more than 1, the scale
    may be too large: that step halves it, and counts as a step and in `overflows`.

    Args:
        state: before the update.
        found: gradients, running statistics and metrics of the whole batch: under pmap
            after the mean over the devices, so that all of them decide alike.
        update: `(state, found) -> state`.
        skip_bad_steps: K.
    """
    guard = functools.partial(_guarded, update, skip_bad_steps)
    if state.loss_scale is None:
        return guard(state, found)
    return lax.cond(_overflown(state, found), _scaled_down, guard, state, found)


def _guarded(
    update: Callable, skip_bad_steps: int, state: TrainState, found: Any
) -> TrainState:
    sound = (state.bad_step == 0) & finite(found)
    leave_out = functools.partial(_left_out, skip_bad_steps)
    # Not a jnp.where of the old state and the new: on the CPU it doubled the update's
    # traffic, needed the memory of another set of parameters and compiled for a minute.
    return lax.cond(sound, update, leave_out, state, found)


def _left_out(skip_bad_steps: int, state: TrainState, found: Any) -> TrainState:
    del found
    going = state.bad_step == 0
    skipping = going & (state.skipped < skip_bad_steps)
    return state.replace(  # pyright: ignore[reportAttributeAccessIssue]
        step=state.step + skipping.astype(jnp.int32),
        skipped=state.skipped + skipping.astype(jnp.int32),
        bad_step=jnp.where(going & ~skipping, state.step + 1, state.bad_step),
    )


def _overflown(state: Any, found: Any) -> jax.Array:
    """Whether nothing but the gradients is not finite, at a scale that can be less."""
    gradients, *rest = found
    reducible = (state.bad_step == 0) & (state.loss_scale.value > 1)
    return reducible & ~finite(gradients) & finite(rest)


def _scaled_down(state: Any, found: Any) -> TrainState:
    del found
    scale = state.loss_scale.after_overflow()
    return state.replace(step=state.step + 1, loss_scale=scale)


def finite(tree: Any) -> jax.Array:
    """() bool: whether no floating number of a tree is NaN or infinite."""
    leaves = [
        jnp.isfinite(leaf).all()
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    return functools.reduce(operator.and_, leaves, jnp.array(True))


Batch = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], TrainState]
EvalStep = Callable[[TrainState, Batch], Metrics]


def normalize(images: jax.Array | np.ndarray, mean, std) -> Any:
    """uint8 (b, h, w, c) to float32: (image / 255 - mean) / std."""
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return (images.astype(jnp.float32) / 255 - mean) / std


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    prepare: Callable[[jax.Array], jax.Array],
    *,
    label_smoothing: float = 0.0,
    seed: int = 0,
    accumulate: int = 1,
    shards: int = 1,
    ema: float = 0.0,
    mix: Mix | None = None,
    skip_bad_steps: int = 0,
):
    """Makes `step(state, batch, *, axis=None) -> state`, one update.

    Args:
        model: maps images to logits; to mix images it tells its `num_classes`.
        optimizer: of the parameters.
        prepare: the batch's images to what the model takes, on the device.
        label_smoothing: of the cross-entropy.
        seed: the streams of dropout and mixing are this seed folded with the step.
        accumulate: parts the batch is computed in, see `in_parts`.
        shards: devices that share the batch under jit.
        ema: decay of the averages of the state, which has some unless this is 0.
        mix: mixes the prepared images, see `make_mix`.
        skip_bad_steps: updates that may be left out, see `guarded`.

    Returns:
        The step. `batch` holds image (b, h, w, c) and label (b,). Under jit with the
        batch sharded it is already the step of the whole batch; under pmap `axis` names
        the mapped axis and one mean over it makes it so.
    """
    gradients_of = make_gradients(model, label_smoothing)
    examples_of = make_examples(model, prepare, seed, mix)
    update = partial(_updated, optimizer=optimizer, ema=ema)

    def step(state: TrainState, batch: Batch, *, axis: str | None = None) -> TrainState:
        split = shards if axis is None else 1
        examples, dropout = examples_of(state.step, batch, axis=axis, shards=split)
        if axis is not None:
            dropout = jax.random.fold_in(dropout, lax.axis_index(axis))
        whole = partial(gradients_of, loss_scale=state.loss_scale)
        found = in_parts(whole, accumulate, split)(state.variables, examples, dropout)
        if axis is not None:
            found = _mean_over(axis, found)
        return guarded(state, found, update, skip_bad_steps)

    return step


def make_examples(model: Any, prepare: Callable, seed: int, mix: Mix | None):
    """Makes `(step, batch, *, axis, shards) -> (examples, dropout key)` of a step.

    The arguments are those of `make_train_step`, the examples those of `make_loss`.
    """

    def examples_of(step, batch, *, axis: str | None = None, shards: int = 1):
        key = jax.random.fold_in(jax.random.key(seed), step)
        dropout, mixing = jax.random.split(key)
        images, targets = prepare(batch["image"]), batch["label"]
        if mix is not None:
            shares = jax.nn.one_hot(targets, model.num_classes, dtype=images.dtype)
            images, targets = mix(mixing, images, shares, axis=axis, shards=shards)
        examples = {"image": images, "label": batch["label"], "target": targets}
        return examples, dropout

    return examples_of


def _mean_over(axis: str, found: Found) -> Found:
    """One mean over the devices; it makes integers floats, so they are put back."""
    return _as(found, lax.pmean(found, axis))


def _as(like: Any, tree: Any) -> Any:
    """The tree in the dtypes of another."""
    return jax.tree.map(lambda a, own: a.astype(own.dtype), tree, like)


def _updated(state: Any, found: Found, *, optimizer, ema: float) -> TrainState:
    grads, stats, metrics = found
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    new = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=stats,
        opt_state=opt_state,
        metrics=_as(state.metrics, state.metrics.merge(metrics)),
    )
    if state.loss_scale is not None:
        new = new.replace(loss_scale=state.loss_scale.after_update())
    if not ema:
        return new
    return new.replace(ema=moved_average(state.ema, new.variables, new.updates, ema))


def make_eval_step(model: nn.Module, prepare: Callable[[jax.Array], jax.Array]):
    """Makes `step(state, batch) -> Metrics`; the batch's mask leaves padding out."""
    logits_of = make_predict_step(model, prepare)

    def step(state: TrainState, batch: Batch) -> Metrics:
        logits = logits_of(state, batch["image"])
        losses = cross_entropy(logits, batch["label"])
        return measure(losses, logits, batch["label"], batch["mask"])

    return step


def make_predict_step(model: nn.Module, prepare: Callable[[jax.Array], jax.Array]):
    """Makes `step(state, images) -> logits`."""

    def step(state: TrainState, images: jax.Array) -> Any:
        return model.apply(state.variables, prepare(images), train=False)

    return step
