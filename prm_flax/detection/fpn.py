"""FPN, the feature pyramid: every level with the coarser ones' meaning.

From the coarsest stage down: a 1×1 convolution of each stage, plus the next coarser
sum, enlarged by repeating its pixels; then a 3×3 convolution of each sum. No norm, no
activation.

Reference: Lin et al., CVPR 2017, section 3. Names: mmdetection's.
"""

from typing import Any

import flax.linen as nn
import jax

from prm_flax.detection.convolution import ConvModule, Convolutions
from prm_flax.detection.levels import enlarged
from prm_flax.layers.extent import Extent, strided

CHANNELS = 256


class FPN(nn.Module):
    """The pyramid over some stages, and coarser levels.

    Attributes:
        convolutions: builds the layers.
        coarser: how many levels are added by 3×3 convolutions of stride 2, the first of
            the coarsest stage itself, with no ReLU between; or, with `subsample`, one
            that is every other pixel of the coarsest level.
        subsample: see `coarser`.
        channels: of every level.
    """

    convolutions: Convolutions
    coarser: int = 2
    subsample: bool = False
    channels: int = CHANNELS

    @nn.compact
    def __call__(
        self, stages: tuple[jax.Array, ...], extents: tuple[Any, ...]
    ) -> tuple[tuple[jax.Array, ...], tuple[Any, ...]]:
        """Levels, finest first, and their extents; of stages, and theirs."""
        sums = [
            self._conv(f"lateral_convs_{i}", 1)(x, extent)
            for i, (x, extent) in enumerate(zip(stages, extents, strict=True))
        ]
        for i in reversed(range(len(sums) - 1)):
            sums[i] = sums[i] + enlarged(sums[i + 1], sums[i].shape[1:3])
        levels = [
            self._conv(f"fpn_convs_{i}", 3)(x, extent)
            for i, (x, extent) in enumerate(zip(sums, extents, strict=True))
        ]
        return self._with_coarser(levels, stages[-1], [*extents])

    def _with_coarser(self, levels, last, extents: list[Extent | None]):
        if self.subsample:
            levels.append(levels[-1][:, ::2, ::2])
            extents.append(strided(extents[-1], 2))
            return tuple(levels), tuple(extents)
        count = len(levels)
        for i in range(count, count + self.coarser):
            extents.append(strided(extents[-1], 2))
            source = last if i == count else levels[-1]
            levels.append(self._conv(f"fpn_convs_{i}", 3, 2)(source, extents[-1]))
        return tuple(levels), tuple(extents)

    def _conv(self, name: str, kernel: int, stride: int = 1) -> ConvModule:
        return ConvModule(self.convolutions, self.channels, kernel, stride, name=name)
