"""Object detection: a detector's losses, and average precision."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from clu import metrics as clu_metrics

from prm_flax.detection import Targets, detect, detection_loss, trainable
from prm_flax.figures import boxes as drawing
from train.data.boxes.annotations import Annotated
from train.data.boxes.buckets import Shape, bucket_of
from train.data.boxes.input import Truth
from train.data.boxes.resize import fit, fitted, on_canvas, padded
from train.export.weights import TrainedNetwork, save_weights
from train.tasks.average_precision import DetectionEvaluator
from train.tasks.detection_pictures import DRAWN, PICTURES
from train.tasks.task import (
    Batch,
    Examples,
    Losses,
    MetricColumn,
    Shown,
    Task,
    column,
)

# Boxes that are said of an image; the least score of a drawn box.
SAID, LEAST = 5, 0.5
# The arrays of the ground truth in a batch, in the order of `Targets`.
TRUTH = ("boxes", "label", "valid", "crowd")


def _field(name: str) -> str:
    """A loss's name as that of a record: "s0/loss_cls" gives s0_loss_cls."""
    return name.replace("/", "_")


@functools.lru_cache
def collection(names: tuple[str, ...]) -> type[clu_metrics.Collection]:
    """Averages of the losses over the steps."""
    return clu_metrics.Collection.create(
        **{name: clu_metrics.Average.from_output(name) for name in ("loss", *names)}
    )


@dataclass(frozen=True)
class Detection(Task):
    """Boxes on images.

    Attributes:
        model: of `create_detector`.
        normalize: uint8 images to what the model takes, on the device.
        limits: of an image's sides, see `resize.fitted`.
        padded_to: shapes of images in batches.
        places: boxes that an image has room for.
        class_names: in the order of the labels.
        crowd_share: see `detection_loss`.
        truth: of the test images; None where none are at hand.
        network: `variables=… -> TrainedNetwork`, what is written of weights.
    """

    model: nn.Module
    normalize: Callable[[Any], Any]
    limits: tuple[int, int] = (800, 1333)
    padded_to: tuple[Shape, ...] = ((800, 1344),)
    places: int = 100
    class_names: tuple[str, ...] = ()
    crowd_share: float | None = None
    truth: Truth | None = None
    network: Callable[..., TrainedNetwork] | None = None

    score = "AP"
    columns = (
        MetricColumn("loss", "loss", "", 4),
        MetricColumn("AP", "AP", "%", 2),
        MetricColumn("AP50", "AP50", "%", 2),
        MetricColumn("AP50_voc", "AP50 by VOC", "%", 2),
        MetricColumn("AP75", "AP75", "%", 2),
        MetricColumn("AP_small", "AP small", "%", 2),
        MetricColumn("AP_medium", "AP medium", "%", 2),
        MetricColumn("AP_large", "AP large", "%", 2),
        MetricColumn("AR_100", "AR", "%", 2),
    )
    inputs = ("image", "size", "scale")
    joins_devices = True
    pictures = PICTURES

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Of the model's losses, as they are recorded."""
        model: Any = self.model
        return tuple(map(_field, model.loss_names))

    def shapes(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Of the largest of the shapes that images are padded to."""
        b, m = batch_size, self.places
        largest = max(self.padded_to, key=lambda shape: shape[0] * shape[1])
        kinds = {
            "image": ((b, *largest, 3), jnp.uint8),
            "size": ((b, 2), jnp.int32),
            "scale": ((b, 2), jnp.float32),
            "boxes": ((b, m, 4), jnp.float32),
            "label": ((b, m), jnp.int32),
            "valid": ((b, m), jnp.bool_),
            "crowd": ((b, m), jnp.bool_),
            "index": ((b,), jnp.int32),
            "mask": ((b,), jnp.float32),
        }
        return {name: jax.ShapeDtypeStruct(*kind) for name, kind in kinds.items()}

    def init(self, key: jax.Array) -> Mapping[str, Any]:
        """Draws the network's variables; its parameters fit images of any size."""
        return self.model.init(key, jnp.zeros((1, 128, 128, 3)))

    def trainable(self, params: Any) -> Any:
        """All but the backbone's frozen stages."""
        return trainable(self.model, params)

    def empty(self) -> Any:
        """No metrics."""
        return collection(self.loss_names).empty()

    def prepare(
        self,
        key: jax.Array | None,
        batch: Batch,
        *,
        axis: str | None = None,
        shards: int = 1,
    ) -> Examples:
        """Normalises; draws each image's key, a function of step and image alone."""
        floats = {name: batch[name].astype(jnp.float32) for name in ("size", "scale")}
        examples = batch | floats | {"image": self.normalize(batch["image"])}
        if key is None:
            return examples
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(batch["index"])
        return examples | {"key": keys}

    def loss(
        self,
        params: Any,
        batch_stats: Any,
        examples: Examples,
        key: jax.Array,
        *,
        axis: str | None = None,
    ) -> tuple[jax.Array, tuple[Losses, Any, Any]]:
        """The detector's losses, of the whole batch each: see `detection_loss`."""
        total, losses, stats = detection_loss(
            self.model,
            {"params": params, "batch_stats": batch_stats},
            examples["image"],
            examples["size"].astype(jnp.int32),
            Targets(*(examples[name] for name in TRUTH)),
            examples["key"],
            crowd_share=self.crowd_share,
            weights=examples["mask"],
            axis=axis,
        )
        named = {_field(name): loss for name, loss in losses.items()}
        each = {n: v[None] for n, v in {"loss": total, **named}.items()}
        metrics = collection(self.loss_names).single_from_model_output(**each)
        return total, (named, stats, metrics)

    def predict(self, variables: Mapping[str, Any], examples: Examples) -> Any:
        """`Detections` in pixels of the original images."""
        sizes = examples["size"].astype(jnp.int32)
        return detect(
            self.model, variables, examples["image"], sizes, examples["scale"]
        )

    def evaluator(self) -> DetectionEvaluator:
        """Compares the boxes of all images with the ground truth."""
        assert self.truth is not None
        return DetectionEvaluator(self.truth)

    def line(self, numbers: Mapping[str, float], kind: str = "") -> str:
        """The losses while training; AP, AP50 and AP75 of an evaluation."""
        if not kind:
            return "  ".join(f"{name} {value:.4f}" for name, value in numbers.items())
        said = [column(self, key) for key in ("AP", "AP50", "AP75")]
        return "  ".join(f"{kind} {c.title} {c.text(numbers[c.key])}" for c in said)

    def show(
        self,
        predict: Callable[[Batch], Any],
        variables: Mapping[str, Any],
        examples: Sequence[np.ndarray],
        names: list[str],
        truth: Sequence[Annotated] | None,
    ) -> Shown:
        """The best boxes of each image; a picture with them, and the ground truth."""
        found = [self.find(predict, image) for image in examples]
        lines = [
            f"{name}: {self._said(each)}"
            for name, each in zip(names, found, strict=True)
        ]
        n = min(len(found), DRAWN)
        draw = functools.partial(
            drawing.detections,
            images=examples[:n],
            found=found[:n],
            class_names=self.class_names,
            truth=None if truth is None else [(t.boxes, t.labels) for t in truth[:n]],
            least=LEAST,
        )
        return Shown(lines, n, draw)

    def find(self, predict: Callable[[Batch], Any], image: np.ndarray) -> drawing.Found:
        """The boxes on an image (h, w, 3) of any size, best first."""
        own = image.shape[0], image.shape[1]
        made = fit(image, np.zeros((0, 4), np.float32), fitted(own, self.limits))
        size = made.image.shape[0], made.image.shape[1]
        try:
            shape = self.padded_to[bucket_of(size, self.padded_to)]
        except ValueError:  # of a ratio that training had none of
            shape = padded(size)
        batch: Any = {
            "image": on_canvas(made.image, shape)[None],
            "size": np.array([size], np.int32),
            "scale": made.scale[None],
        }
        outputs: Any = jax.device_get(predict(batch))
        there = outputs.valid[0]
        rows = outputs.boxes[0], outputs.labels[0], outputs.scores[0]
        return drawing.Found(*(each[there] for each in rows))

    def save(self, path: Path, variables: Mapping[str, Any]) -> None:
        """Writes weights with what they mean, see `prm_flax.interop.safetensors`."""
        assert self.network is not None
        save_weights(self.network(variables=variables), path)

    def _said(self, found: drawing.Found) -> str:
        rows = zip(found.boxes[:SAID], found.labels, found.scores, strict=False)
        said = [
            f"{self.class_names[label]} {100 * score:.1f} % at "
            f"{', '.join(f'{number:.0f}' for number in box)}"
            for box, label, score in rows
        ]
        more = len(found.scores) - len(said)
        return "; ".join(said) + (f"; {more} more" if more > 0 else "") or "nothing"
