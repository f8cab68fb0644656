"""Images that are hard for PRM, in float64."""

import numpy as np
from support import prm_cases as cases

_, _, GROUPS, WIDTH = cases.USUAL
USUAL = cases.image(0, cases.USUAL)


def spike():
    x = np.zeros_like(USUAL)
    x[1, 2] = 50 * USUAL[1, 2]
    return x


def zero_group():
    x = USUAL.copy()
    x[..., :WIDTH] = 0
    return x


def zero_pixel():
    x = USUAL.copy()
    x[1, 2] = 0
    return x


def ties():
    x = USUAL.copy()
    x[0, 1] = x[2, 3] = 5
    return x


def of_few_bits():
    """Sums of such numbers are exact in each dtype."""
    return np.round(USUAL * 8) / 8


def channel_sums_of_0():
    x = of_few_bits()
    x[..., 2::3] = -x[..., 0::3] - x[..., 1::3]
    return x


def mean_of_0():
    """Of each channel, over positions."""
    x = of_few_bits()
    x[2, 3] -= x.sum((0, 1))
    return x


def line(h, w):
    return {f"{h}×{w}": cases.image(1, cases.Shape(h, w, GROUPS, WIDTH))}


# Of one shape each.
IMAGES = {
    "3×4": {
        "usual": USUAL,
        "zeros": np.zeros_like(USUAL),
        "constant": np.full_like(USUAL, 3.7),
        "tiny": 1e-12 * USUAL,
        "1e-30": 1e-30 * USUAL,
        "1e3": 1e3 * USUAL,
        "a spike": spike(),
        "a zero group": zero_group(),
        "a zero pixel": zero_pixel(),
        "ties": ties(),
        "channel sums of 0": channel_sums_of_0(),
        "a mean of 0": mean_of_0(),
        "offset 100": 100 + USUAL,
    },
    "1×1": line(1, 1),
    "1×5": line(1, 5),
    "5×1": line(5, 1),
}
