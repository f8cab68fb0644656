"""The public weights and photos: tests that need them say why they do not run."""

from collections.abc import Callable
from typing import Any

import pytest

from train.data.datasets import imagenet_samples as samples

needs_samples: Callable[[Any], Any] = pytest.mark.skipif(
    any(samples.missing(package) for package in samples.PACKAGES),
    reason="the public MobileNetV2 is not on this machine: make weights",
)
FOLDER = samples.folder()
WEIGHTS = FOLDER / next(iter(samples.WEIGHTS.files))
