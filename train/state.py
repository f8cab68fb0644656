"""What training changes, and so all that a resumed run needs."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from train.loss_scale import LossScale
from train.tasks.metrics import Metrics


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
    metrics: Metrics
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
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, int, int],
    seed: int,
    ema: bool = False,
    loss_scale: bool = False,
) -> TrainState:
    """The state before the first update.

    Args:
        model: maps images to logits.
        optimizer: of the parameters.
        image_shape: (h, w, c).
        seed: of the parameters.
        ema: whether averages are kept; until the first update they are the initial
            values.
        loss_scale: whether the loss is scaled, as float16 needs it.
    """
    made = model.init(jax.random.key(seed), jnp.zeros((1, *image_shape)))
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
        metrics=Metrics.empty(),
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
