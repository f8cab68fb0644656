"""Image classification: cross-entropy, top-1 and top-5."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from prm_flax.figures import maps, plots
from train.export.weights import TrainedNetwork, save_weights
from train.tasks.metrics import Metrics, cross_entropy, measure, scalars
from train.tasks.mixup import Mix
from train.tasks.task import (
    Batch,
    Examples,
    Losses,
    MetricColumn,
    Picture,
    Shown,
    Task,
)

# Images in a picture.
DRAWN = 16
# Classes that are said of an image.
BEST = 5


def _curves(path: Path, experiment: Any, state: Any, log: Any) -> None:
    plots.curves(path, log.of("train"), log.of("test"))


def _predictions(path: Path, experiment: Any, state: Any, log: Any) -> None:
    images, labels = experiment.input.sample(DRAWN)
    experiment.show(state, images, [""] * len(images), labels).draw(path)


PICTURES: MappingProxyType[str, Picture] = MappingProxyType(
    {
        "curves.png": Picture("loss and accuracy", _curves),
        "predictions.png": Picture(
            "test images with predictions and query points", _predictions
        ),
    }
)


@dataclass(frozen=True)
class Classification(Task):
    """The classes of images.

    Attributes:
        model: images (b, h, w, c) -> logits (b, k).
        normalize: uint8 images to what the model takes, on the device.
        label_smoothing: of the cross-entropy.
        mix: mixes the normalised images, see `make_mix`.
        image_shape: (h, w, c).
        class_names: in the order of the logits.
        network: `variables=… -> TrainedNetwork`, what is written of weights.
    """

    model: nn.Module
    normalize: Callable[[Any], Any]
    label_smoothing: float = 0.0
    mix: Mix | None = None
    image_shape: tuple[int, int, int] = (1, 1, 3)
    class_names: tuple[str, ...] = ()
    network: Callable[..., TrainedNetwork] | None = None

    score = "top1"
    columns = (
        MetricColumn("loss", "loss", "", 4),
        MetricColumn("top1", "top-1", "%", 2),
        MetricColumn("top5", "top-5", "%", 2),
    )
    inputs = ("image",)
    pictures = PICTURES

    def shapes(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Image uint8 (b, h, w, c) and label int32 (b,)."""
        return {
            "image": jax.ShapeDtypeStruct((batch_size, *self.image_shape), jnp.uint8),
            "label": jax.ShapeDtypeStruct((batch_size,), jnp.int32),
        }

    def init(self, key: jax.Array) -> Mapping[str, Any]:
        """Draws the network's variables."""
        return self.model.init(key, jnp.zeros((1, *self.image_shape)))

    def empty(self) -> Metrics:
        """No metrics."""
        return Metrics.empty()

    def prepare(
        self,
        key: jax.Array | None,
        batch: Batch,
        *,
        axis: str | None = None,
        shards: int = 1,
    ) -> Examples:
        """Normalises and mixes.

        Returns:
            image (b, h, w, c); for training also label (b,), which the metrics count,
            and target, labels or shares of the classes (b, k), for the loss.
        """
        images = self.normalize(batch["image"])
        if key is None:
            return {"image": images}
        targets = batch["label"]
        if self.mix is not None:
            classes: Any = self.model
            shares = jax.nn.one_hot(targets, classes.num_classes, dtype=images.dtype)
            images, targets = self.mix(key, images, shares, axis=axis, shards=shards)
        return {"image": images, "label": batch["label"], "target": targets}

    def loss(
        self, params: Any, batch_stats: Any, examples: Examples, key: jax.Array
    ) -> tuple[jax.Array, tuple[Losses, Any, Metrics]]:
        """The mean cross-entropy; its losses are each image's (b,)."""
        applied: Any = self.model.apply(
            {"params": params, "batch_stats": batch_stats},
            examples["image"],
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        logits, new = applied
        losses = cross_entropy(logits, examples["target"], self.label_smoothing)
        metrics = measure(losses, logits, examples["label"])
        return losses.mean(), ({"loss": losses}, new.get("batch_stats", {}), metrics)

    def predict(self, variables: Mapping[str, Any], examples: Examples) -> Any:
        """The logits (b, k)."""
        return self.model.apply(variables, examples["image"], train=False)

    def evaluator(self) -> "ClassificationEvaluator":
        """Averages over the images."""
        return ClassificationEvaluator()

    def numbers(self, metrics: Metrics) -> dict[str, float]:
        """Plain numbers, top-1 and top-5 in percent."""
        return scalars(metrics)

    def line(self, numbers: Mapping[str, float], kind: str = "") -> str:
        """Loss and top-1; of an evaluation top-5, too."""
        before = f"{kind} " if kind else ""
        said = f"{before}loss {numbers['loss']:.4f}"
        said += f"  {before}top-1 {numbers['top1']:5.2f} %"
        return f"{said}  top-5 {numbers['top5']:.2f} %" if kind else said

    def show(
        self,
        predict: Callable[[Batch], Any],
        variables: Mapping[str, Any],
        examples: Any,
        names: list[str],
        truth: Any,
    ) -> Shown:
        """The best classes of each image; a picture with them and query points."""
        examples = np.asarray(examples)
        probabilities, queries = self.look(predict, variables, examples)
        lines = [
            f"{name}: {_best(row, self.class_names)}"
            for name, row in zip(names, probabilities, strict=True)
        ]
        n = min(len(names), DRAWN)
        draw = functools.partial(
            plots.predictions,
            images=examples[:n],
            labels=None if truth is None else truth[:n],
            probabilities=probabilities[:n],
            class_names=self.class_names,
            queries={stage: points[:n] for stage, points in queries.items()},
        )
        return Shown(lines, n, draw)

    def save(self, path: Path, variables: Mapping[str, Any]) -> None:
        """Writes weights with what they mean, see `prm_flax.interop.safetensors`."""
        assert self.network is not None
        save_weights(self.network(variables=variables), path)

    def look(
        self,
        predict: Callable[[Batch], Any],
        variables: Mapping[str, Any],
        images: np.ndarray,
    ):
        """Probabilities (n, k) of images, and each stage's last PRM's query points.

        The points are those of `prm_flax.figures.maps.stage_queries`; none where the
        network has no PRM.
        """
        logits: Any = predict({"image": images})  # pyright: ignore[reportArgumentType]
        probabilities = np.asarray(jax.nn.softmax(logits.astype("float32")))
        ready = self.normalize(images)
        if not maps.has_prm(self.model, variables, ready):
            return probabilities, {}
        return probabilities, maps.stage_queries(self.model, variables, ready)


_measured = jax.jit(
    lambda logits, labels, mask: measure(
        cross_entropy(logits, labels), logits, labels, mask
    )
)


class ClassificationEvaluator:
    """Averages of loss, top-1 and top-5 over all images."""

    def __init__(self) -> None:
        self.metrics = Metrics.empty()

    def add(self, outputs: Any, batch: Mapping[str, np.ndarray]) -> None:
        """Takes logits (b, k), label (b,) and mask (b,)."""
        metrics = _measured(outputs, batch["label"], batch["mask"])
        self.metrics = self.metrics.merge(metrics)

    def result(self) -> dict[str, float]:
        """Loss, top-1 and top-5, the latter in percent."""
        return scalars(self.metrics)


def _best(probabilities: np.ndarray, names: tuple[str, ...]) -> str:
    best = np.argsort(-probabilities, kind="stable")[:BEST]
    return ", ".join(f"{names[k]} {100 * probabilities[k]:.1f} %" for k in best)
