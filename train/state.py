"""What training changes, and so all that a resumed run needs."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from train.metrics import Metrics


@flax.struct.dataclass
class TrainState:
    """The state of a run.

    Attributes:
        step: () int32, updates made so far.
        params: the network's parameters.
        batch_stats: its running statistics.
        opt_state: the optimiser's.
        metrics: of the training batches since they were last reported.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    metrics: Metrics

    @property
    def variables(self) -> dict[str, Any]:
        """What `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def init_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, int, int],
    seed: int,
) -> TrainState:
    """The state before the first update; images are (h, w, c)."""
    variables = model.init(jax.random.key(seed), jnp.zeros((1, *image_shape)))
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        metrics=Metrics.empty(),
    )
