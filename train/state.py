"""What training changes, and so all that a resumed run needs."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import flax.struct
import jax
import jax.numpy as jnp
import optax

from train.tasks.task import Task

# Of a loss in float16: where it starts, how far it grows, and after how many updates.
FIRST_SCALE = 2.0**16
LARGEST_SCALE = 2.0**24
STEPS_TO_GROW = 2000


def moved_average(average: Any, new: Any, updates: jax.Array, decay: float) -> Any:
    """The geometric average of all values so far, the newest included.

    With p_s the value after update s and d the decay::

        average_t = Σ_s d^(t-s) p_s / Σ_s d^(t-s),   s = 1 … t
                  = average_(t-1) + (1 - d) / (1 - d^t) · (p_t - average_(t-1))

    The first is p_1 itself: nothing of the initial values is in it, so there is no
    bias to correct.

    Args:
        average: tree of average_(t-1).
        new: the same tree of p_t.
        updates: () integer, t.
        decay: d, in (0, 1).

    Returns:
        The tree of average_t, in the dtypes of `average`.
    """
    # 1 - d^t loses digits for a d near 1 and a small t; expm1 does not.
    share = (1 - decay) / -jnp.expm1(updates * math.log(decay))

    def move(old, value):
        weight = share.astype(old.dtype)
        return (1 - weight) * old + weight * value

    return jax.tree.map(move, average, new)


@flax.struct.dataclass
class LossScale:
    """What a loss is multiplied by before it is differentiated.

    Gradients below 6e-8 are 0 in float16, so they are computed S times as large and
    divided by S in float32. S is a power of two, which costs no digit; it is as large
    as the gradients allow, since one beyond 65504 is infinite:

    * gradients that are not finite: the update is left out and S halved, down to 1;
    * 2,000 updates since that or the last of these: S is doubled, up to 2^24.

    Reference: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.

    Attributes:
        value: () float32, S.
        good: () int32, updates since then.
        overflows: () int32, of the steps, those whose update was left out for it.
    """

    value: jax.Array
    good: jax.Array
    overflows: jax.Array

    @classmethod
    def first(cls) -> "LossScale":
        """That of the first step, 2^16."""
        counters = (jnp.zeros((), jnp.int32) for _ in range(2))
        return cls(jnp.asarray(FIRST_SCALE, jnp.float32), *counters)

    def scaled(self, loss_of: Callable[..., tuple[jax.Array, Any]]):
        """The function `loss_of(…) -> (loss, aux)` with S · loss."""

        def scaled_loss_of(*args):
            loss, aux = loss_of(*args)
            return self.value * loss, aux

        return scaled_loss_of

    def unscaled(self, gradients: Any) -> Any:
        """The gradients of the loss, of those of S · loss."""
        return jax.tree.map(lambda g: g / self.value, gradients)

    def after_update(self) -> "LossScale":
        """That of the step after an update."""
        good = self.good + 1
        grows = good == STEPS_TO_GROW
        larger = jnp.minimum(2 * self.value, LARGEST_SCALE)
        return LossScale(
            value=jnp.where(grows, larger, self.value),
            good=jnp.where(grows, 0, good),
            overflows=self.overflows,
        )

    def after_overflow(self) -> "LossScale":
        """That of the step after an update left out."""
        return LossScale(
            value=self.value / 2,
            good=jnp.zeros_like(self.good),
            overflows=self.overflows + 1,
        )

    def numbers(self) -> dict[str, float | int]:
        """What a run records of it."""
        return {"loss_scale": float(self.value), "overflows": int(self.overflows)}


@flax.struct.dataclass
class TrainState:
    """The state of a run.

    Attributes:
        step: () int32, batches gone through so far, by an update or skipped.
        params: the network's parameters.
        batch_stats: its running statistics.
        opt_state: the optimiser's.
        ema: averages of params and batch_stats, by these names; {} for none.
        metrics: of the training batches since they were last reported.
        skipped: () int32, of the steps, those whose update was not made as it was not
            of finite numbers.
        bad_step: () int32, 0, or the step that would have been the next had its update
            been of finite numbers; then the state is that before it and stays.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any
    metrics: Any
    skipped: jax.Array
    bad_step: jax.Array
    loss_scale: ClassVar[LossScale | None] = None

    @property
    def updates(self) -> jax.Array:
        """() int32, the steps whose update was made."""
        made = self.step - self.skipped
        return made if self.loss_scale is None else made - self.loss_scale.overflows

    @property
    def variables(self) -> dict[str, Any]:
        """What `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


@flax.struct.dataclass
class ScaledState(TrainState):
    """The state of a run whose network computes in float16.

    A class of its own: Orbax restores nothing into a field that an older checkpoint
    lacks, not even None.

    Attributes:
        loss_scale: of the next step.
    """

    loss_scale: LossScale  # pyright: ignore[reportIncompatibleVariableOverride]


def init_state(
    task: Task,
    optimizer: optax.GradientTransformation,
    seed: int,
    ema: bool = False,
    loss_scale: bool = False,
) -> TrainState:
    """The state before the first update.

    Args:
        task: what is trained.
        optimizer: of the parameters.
        seed: of the parameters.
        ema: whether averages are kept; until the first update they are the initial
            values.
        loss_scale: whether the loss is scaled, as float16 needs it.
    """
    made = task.init(jax.random.key(seed))
    variables = {
        "params": made["params"],
        "batch_stats": made.get("batch_stats", {}),
    }
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        **variables,
        opt_state=optimizer.init(variables["params"]),
        # Copies: a step that takes the state's memory must not take an array twice.
        ema=jax.tree.map(jnp.copy, variables) if ema else {},
        metrics=task.empty(),
        skipped=jnp.zeros((), jnp.int32),
        bad_step=jnp.zeros((), jnp.int32),
    )
    if not loss_scale:
        return state
    return ScaledState(**vars(state), loss_scale=LossScale.first())


def averaged(state: TrainState) -> TrainState:
    """The state with the averages in the place of its weights and statistics.

    Raises:
        ValueError: the state keeps no averages.
    """
    if not state.ema:
        raise ValueError(
            "Only a state that keeps averages can be averaged, this one has none. Was "
            "it made with init_state(…, ema=False), optim.ema = 0?"
        )
    return dataclasses.replace(state, **state.ema)
