"""The public weights and photos: tests that need them say why they do not run."""

from collections.abc import Callable
from typing import Any

import pytest

from train.data.datasets.imagenet_samples import SAMPLES
from train.data.datasets.imagenet_samples import WEIGHTS as PACKAGE

needs_samples: Callable[[Any], Any] = pytest.mark.skipif(
    any(SAMPLES.missing(package) for package in SAMPLES.packages),
    reason="the public MobileNetV2 is not on this machine: make weights",
)
FOLDER = SAMPLES.path
WEIGHTS = FOLDER / next(iter(PACKAGE.files))
