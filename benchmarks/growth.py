"""What grows: a step with the chips, a layer with its map and its groups."""

from collections.abc import Callable
from functools import partial

from benchmarks import layer, steps
from benchmarks.layer import CHIPS, PASSES, Case
from benchmarks.results import Row

PACKAGES = steps.PACKAGES
TIMED = False
# To 256 chips; `steps` has 4.
SLICES = ("h100:1", "h100:8", "h100:256", "v5e:4x4", "v5e:8x8", "v5e:16x16")
# From ResNet-50's last maps at 224×224 to a detector's largest at 1333×800.
MAPS = ((7, 7), (14, 14), (28, 28), (56, 56), (100, 167), (200, 334))
# Too large for a TPU's kernel.
WITHOUT_KERNEL = MAPS[-2:]
CHANNELS, MAP = 256, (56, 56)
GROUPS = (1, 2, 4, 8, 16, 32, 64, 128)


def cases() -> dict[str, Callable[[], Row]]:
    """Layers of growing maps, then of more groups, then steps on more chips."""
    maps = [
        Case(c, (*m, CHANNELS), p, "auto") for c in CHIPS for m in MAPS for p in PASSES
    ]
    groups = [
        Case(chips, (*MAP, CHANNELS), which, "auto", number)
        for chips in CHIPS
        for number in GROUPS
        for which in PASSES
    ]
    plain = [
        Case(CHIPS[1], (*m, CHANNELS), which, "xla")
        for m in WITHOUT_KERNEL
        for which in PASSES
    ]
    layers = {
        str(case): partial(layer.measure, case) for case in [*maps, *groups, *plain]
    }
    return layers | {
        steps.name_of(chips, steps.OURS, "auto"): partial(
            steps.measure, chips, steps.OURS, "auto"
        )
        for chips in SLICES
    }
