"""PRM, one network, one training step on image files; what did it."""

import contextlib
import dataclasses
import importlib.metadata
import math
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

from configs.fashion_mnist.prm_resnet14 import config
from prm_flax import PRM, create_model
from prm_flax.nnx import PRM as NNXPRM
from train import sharding
from train.config import Data
from train.experiment import build
from train.tasks.metrics import scalars


def write_images(root: Path) -> None:
    """A folder of JPEG files: two classes, of 16 training and 8 test images each."""
    noise = np.random.default_rng(0)
    for part, count in (("train", 16), ("val", 8)):
        for index in range(2 * count):
            folder = root / part / f"class_{index % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = noise.integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.jpg")


def one_step(root: str) -> float:
    """The loss of the first step on the images, decoded by a worker process."""
    data = Data("image_folder", root, image_size=28, eval_resize=32, workers=1)
    small = dataclasses.replace(config(), data=data, batch_size=16)
    experiment = build(small)
    with contextlib.closing(experiment.input.train(0, 1)) as batches:
        batch = next(batches)
    batch = {name: batch[name] for name in ("image", "label")}
    placed = sharding.put_batch(experiment.mesh, batch)
    state = experiment.train_step(experiment.init(), placed)
    loss = scalars(state.metrics)["loss"]
    assert int(state.step) == 1 and math.isfinite(loss)
    return loss


def main() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 16))
    prm = PRM(4)
    y = prm.apply(prm.init(jax.random.key(1), x), x)
    assert jnp.allclose(y, NNXPRM(4, rngs=nnx.Rngs(1))(x)), "Linen and NNX differ"

    model = create_model("prm_resnet18", num_classes=10)
    image = jnp.zeros((1, 64, 64, 3))
    logits = model.apply(model.init(jax.random.key(0), image), image)
    assert logits.shape == (1, 10) and bool(jnp.isfinite(logits).all())

    with tempfile.TemporaryDirectory() as root:
        write_images(Path(root))
        loss = one_step(root)

    packages = ("jax", "flax", "optax", "orbax-checkpoint", "grain")
    used = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"one training step, loss {loss:.3f}: {used}")


if __name__ == "__main__":
    main()
