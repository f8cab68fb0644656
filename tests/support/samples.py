"""The public weights and photos: tests that need them say why they do not run."""

from collections.abc import Callable
from typing import Any

import pytest

from train.data.datasets import imagenet_samples

needs_samples: Callable[[Any], Any] = pytest.mark.skipif(
    any(imagenet_samples.missing(package) for package in imagenet_samples.PACKAGES),
    reason="the public MobileNetV2 is not on this machine: make weights",
)
FOLDER = imagenet_samples.folder()
WEIGHTS = FOLDER / next(iter(imagenet_samples.WEIGHTS.files))
