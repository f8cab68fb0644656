"""PRM, one network and one training step; prints the versions that did it."""

import dataclasses
import importlib.metadata
import math

import jax
import jax.numpy as jnp
from flax import nnx

from configs.fashion_mnist.prm_resnet14 import config
from prm_flax import PRM, create_model
from prm_flax.nnx import PRM as NNXPRM
from train import sharding
from train.build import build
from train.config import Data
from train.metrics import scalars


def main() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 16))
    prm = PRM(4)
    y = prm.apply(prm.init(jax.random.key(1), x), x)
    assert jnp.allclose(y, NNXPRM(4, rngs=nnx.Rngs(1))(x)), "Linen and NNX differ"

    model = create_model("prm_resnet18", num_classes=10)
    image = jnp.zeros((1, 64, 64, 3))
    logits = model.apply(model.init(jax.random.key(0), image), image)
    assert logits.shape == (1, 10) and bool(jnp.isfinite(logits).all())

    experiment = build(dataclasses.replace(config(), data=Data(source="fake")))
    batch = experiment.batches(0)
    batch = {name: batch[name] for name in ("image", "label")}
    placed = sharding.put_batch(experiment.mesh, batch)
    state = experiment.train_step(experiment.init(), placed)
    loss = scalars(state.metrics)["loss"]
    assert int(state.step) == 1 and math.isfinite(loss)

    packages = ("jax", "flax", "optax", "orbax-checkpoint")
    used = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"one training step, loss {loss:.3f}: {used}")


if __name__ == "__main__":
    main()
