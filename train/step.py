"""One step: the loss, its gradients, the update and its guard; and one evaluation."""

import functools
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from train.state import LossScale, TrainState, moved_average
from train.tasks.task import Batch, Examples, Task

Results = tuple[Any, Any, Any]  # gradients, batch_stats, metrics
Differentiated = Callable[[dict[str, Any], Examples, jax.Array], Results]


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    seed: int = 0,
    accumulate: int = 1,
    shards: int = 1,
    ema: float = 0.0,
    skip_bad_steps: int = 0,
):
    """Makes `step(state, batch, *, axis=None) -> state`, one update.

    Args:
        task: prepares the batch and has the loss.
        optimizer: of the parameters.
        seed: the streams of dropout and mixing are this seed folded with the step.
        accumulate: parts the batch is computed in, see `in_parts`.
        shards: devices that share the batch under jit.
        ema: decay of the averages of the state, which has some unless this is 0.
        skip_bad_steps: updates that may be left out, see `guarded`.

    Returns:
        The step. The batch holds the arrays of `task.shapes`. Under jit with the batch
        sharded it is already the step of the whole batch; under pmap `axis` names the
        mapped axis and one mean over it makes it so.
    """
    gradients_of = make_gradients(task)
    update = partial(_updated, optimizer=optimizer, ema=ema)

    def step(state: TrainState, batch: Batch, *, axis: str | None = None) -> TrainState:
        split = shards if axis is None else 1
        key, mixing = step_keys(seed, state.step)
        examples = task.prepare(mixing, batch, axis=axis, shards=split)
        if axis is not None:
            key = jax.random.fold_in(key, lax.axis_index(axis))
        whole = partial(gradients_of, loss_scale=state.loss_scale, axis=axis)
        results = in_parts(whole, accumulate, split)(state.variables, examples, key)
        if axis is not None:
            results = _mean_over(axis, results)
        return guarded(state, results, update, skip_bad_steps)

    return step


def step_keys(seed: int, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The keys of a step: of dropout and the like, of mixing."""
    dropout, mixing = jax.random.split(jax.random.fold_in(jax.random.key(seed), step))
    return dropout, mixing


def make_gradients(task: Task) -> Callable[..., Results]:
    """Makes `(variables, examples, key) -> (gradients, batch_stats, metrics)`.

    With a `loss_scale` the gradients are those of the scaled loss, divided by the
    scale: the same, but for what float16 rounds to 0 or to infinity.
    """

    def gradients_of(
        variables,
        examples,
        key,
        loss_scale: LossScale | None = None,
        axis: str | None = None,
    ):
        more: dict[str, Any] = {"axis": axis} if task.joins_devices else {}
        loss = partial(task.loss, **more)
        function = loss if loss_scale is None else loss_scale.scaled(loss)
        grads, (_, stats, metrics) = jax.grad(function, has_aux=True)(
            variables["params"], variables["batch_stats"], examples, key
        )
        if loss_scale is not None:
            grads = loss_scale.unscaled(grads)
        return grads, stats, metrics

    return gradients_of


def _updated(state: Any, results: Results, *, optimizer, ema: float) -> TrainState:
    grads, stats, metrics = results
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


def in_parts(gradients_of: Differentiated, parts: int, shards: int) -> Differentiated:
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


def _mean_over(axis: str, results: Results) -> Results:
    """One mean over the devices; it makes integers floats, so they are put back."""
    return _as(results, lax.pmean(results, axis))


def _as(like: Any, tree: Any) -> Any:
    """The tree in the dtypes of another."""
    return jax.tree.map(lambda a, own: a.astype(own.dtype), tree, like)


def guarded(
    state: TrainState,
    results: Any,
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
        results: gradients, running statistics and metrics of the whole batch: under
            pmap after the mean over the devices, so that all of them decide alike.
        update: `(state, results) -> state`.
        skip_bad_steps: K.
    """
    guard = functools.partial(_guarded, update, skip_bad_steps)
    if state.loss_scale is None:
        return guard(state, results)
    return lax.cond(_overflown(state, results), _scaled_down, guard, state, results)


def _guarded(
    update: Callable, skip_bad_steps: int, state: TrainState, results: Any
) -> TrainState:
    sound = (state.bad_step == 0) & finite(results)
    leave_out = functools.partial(_left_out, skip_bad_steps)
    # Not a jnp.where of the old state and the new: on the CPU it doubled the update's
    # traffic, needed the memory of another set of parameters and compiled for a minute.
    return lax.cond(sound, update, leave_out, state, results)


def _left_out(skip_bad_steps: int, state: TrainState, results: Any) -> TrainState:
    del results
    going = state.bad_step == 0
    skipping = going & (state.skipped < skip_bad_steps)
    return state.replace(  # pyright: ignore[reportAttributeAccessIssue]
        step=state.step + skipping.astype(jnp.int32),
        skipped=state.skipped + skipping.astype(jnp.int32),
        bad_step=jnp.where(going & ~skipping, state.step + 1, state.bad_step),
    )


def _overflown(state: Any, results: Any) -> jax.Array:
    """Whether nothing but the gradients is not finite, at a scale that can be less."""
    gradients, *rest = results
    reducible = (state.bad_step == 0) & (state.loss_scale.value > 1)
    return reducible & ~finite(gradients) & finite(rest)


def _scaled_down(state: Any, results: Any) -> TrainState:
    del results
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


def make_eval_step(task: Task):
    """Makes `step(state, batch) -> (outputs, the batch without the network's inputs)`.

    Whole on every process, it is what `Evaluator.add` takes.
    """
    predict = make_predict_step(task)

    def step(state: TrainState, batch: Batch) -> tuple[Any, Batch]:
        rest = {name: a for name, a in batch.items() if name not in task.inputs}
        return predict(state, batch), rest

    return step


def make_predict_step(task: Task):
    """Makes `step(state, batch) -> outputs`; of the batch `task.inputs` are enough."""

    def step(state: TrainState, batch: Batch) -> Any:
        inputs = {name: batch[name] for name in task.inputs}
        return task.predict(state.variables, task.prepare(None, inputs))

    return step
