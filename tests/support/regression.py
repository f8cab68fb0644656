"""A third task: the number of an image's class by least squares."""

from dataclasses import dataclass, field

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from clu import metrics
from safetensors.flax import save_file

from train.config import BaseConfig, BaseOptim
from train.data.datasets.fake import fake
from train.data.input import ALONE
from train.data.pipeline import ArrayInput
from train.tasks.task import MetricColumn, Task, TaskKind

SHAPE = (4, 4, 1)


@flax.struct.dataclass
class SquaredError(metrics.Collection):
    loss: metrics.Average.from_output("loss")


@dataclass(frozen=True)
class Regression(Task):
    model: nn.Module = field(default_factory=lambda: nn.Dense(1))
    score, inputs = "r2", ("image",)
    columns = (MetricColumn("loss", "loss", "", 4), MetricColumn("r2", "R²", "", 3))

    def shapes(self, b):
        label = jax.ShapeDtypeStruct((b,), jnp.int32)
        return {"image": jax.ShapeDtypeStruct((b, *SHAPE), jnp.uint8), "label": label}

    def init(self, key):
        return self.model.init(key, jnp.zeros((1, 16)))

    def empty(self):
        return SquaredError.empty()

    def prepare(self, key, batch, *, axis=None, shards=1):
        pixels = batch["image"].reshape(len(batch["image"]), -1)
        return batch | {"image": pixels / 255.0 - 0.5}

    def loss(self, params, batch_stats, examples, key):
        found = self.predict({"params": params}, examples)
        losses = (found - examples["label"]) ** 2
        summed = SquaredError.single_from_model_output(loss=losses)
        return losses.mean(), ({"loss": losses}, batch_stats, summed)

    def predict(self, variables, examples):
        return self.model.apply(variables, examples["image"])[:, 0]

    def evaluator(self):
        return RSquared()

    def save(self, path, variables):
        save_file(dict(variables["params"]), str(path))


@dataclass
class RSquared:
    """1 - squared error / variance: no sum over images."""

    rows: list = field(default_factory=list)

    def add(self, outputs, batch):
        self.rows += zip(
            *(a[batch["mask"] > 0] for a in (outputs, batch["label"])), strict=True
        )

    def result(self):
        found, wanted = np.array(self.rows, np.float64).T
        loss = float(np.square(found - wanted).mean())
        return {"loss": loss, "r2": 1 - loss / float(np.var(wanted))}


@dataclass(frozen=True)
class RegressionConfig(BaseConfig):
    optim: BaseOptim = field(default_factory=lambda: BaseOptim(peak_lr=0.05))


def images(config, shard=ALONE, fetch=False):
    parts = fake(0, 64, SHAPE, 5)
    sizes = config.batch_size, config.eval_batch_size
    return ArrayInput(parts, *sizes, config.seed)


def task(config, examples):
    return Regression()


KIND = TaskKind(lambda c, n: None, images, images, task, images)
