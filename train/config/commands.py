"""The options that commands have besides a config's."""

from dataclasses import dataclass

from train.config.base import Switch


@dataclass(frozen=True)
class Predict:
    """What `predict` looks at."""

    images: tuple[str, ...] = ()
    """Image files; by default the first of the test images."""
    count: int = 16
    """How many of the test images."""
    output: str | None = None
    """The picture's file; by default predict.png in the run's folder, if any."""


@dataclass(frozen=True)
class Preflight:
    """What `preflight` compiles for."""

    topology: str = ""
    """Chips and how they are linked: v5e:16x16, v4:4x4x4, h100:8, a100:8."""
    per_device_batch: int | None = None
    """Images of one device; None takes batch_size / devices."""
    largest_batch: Switch = False
    """Also look for the largest batch that fits."""
    scaling: Switch = False
    """Also compile for 8, 16, … 256 chips."""
    json: str | None = None
    """File for the numbers."""


@dataclass(frozen=True)
class Export:
    """What `export` writes."""

    output: str | None = None
    """The folder of the files; by default export in the run's folder."""
    average: Switch = False
    """The moving average of the weights (optim.ema) instead of the weights."""
    fold: Switch = False
    """Put batch norm into the convolutions: the same logits to 1e-5."""
