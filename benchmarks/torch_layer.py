"""PRM under PyTorch: the equations as they stand, on (b, g, c, h·w).

The straightforward form, channels first, as a PyTorch program would have it, to compare
times with. Written from the paper's equations; parameters as `recalibrate` has them.
"""

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

# PyTorch's threads else wait for each other in loops, and where anything else wants a
# core they take fifty times as long. It is read as the package is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch  # pyright: ignore[reportMissingImports]

from prm_flax import PRMParams


def layer(
    x: np.ndarray, params: PRMParams, dy: np.ndarray
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Forward, and forward and backward, of x (b, h, w, C); both give y first."""
    channels_first = (0, 3, 1, 2)
    features = torch.tensor(x.transpose(channels_first)).contiguous()
    cotangent = torch.tensor(dy.transpose(channels_first)).contiguous()
    leaves = [torch.tensor(np.asarray(leaf)) for leaf in params]
    learned = [leaf.clone().requires_grad_() for leaf in leaves]
    inputs = [features.clone().requires_grad_(), *learned]

    def forward():
        with torch.no_grad():
            return _recalibrate(features, *leaves)

    def both():
        y = _recalibrate(*inputs)
        torch.autograd.grad(y, inputs, cotangent)
        return y

    return forward, both


def channels_last(y: Any) -> np.ndarray:
    """(b, h, w, C) of what either gives."""
    return y.detach().numpy().transpose(0, 2, 3, 1)


def _recalibrate(x, alpha, beta, lam, xi, theta, d):
    b, channels, h, w = x.shape
    g, n = alpha.shape[0], h * w
    grouped = x.reshape(b, g, channels // g, n)
    index = grouped.mean(2).argmax(2)  # (b, g)
    q = grouped.gather(3, index[:, :, None, None].expand(-1, -1, channels // g, 1))
    z = grouped.mean(3, keepdim=True)
    near = _closeness(index, h, w, theta, d)
    to_query, to_mean = (grouped * q).sum(2), (grouped * z).sum(2)
    scores = alpha[:, None] * to_query * near + beta[:, None] * to_mean
    spread, mean = torch.std_mean(scores, 2, correction=0, keepdim=True)
    scores = (scores - mean) / (spread + 1e-5)
    gate = torch.sigmoid(lam[:, None] * scores + xi[:, None])
    return (grouped * gate[:, :, None]).reshape(x.shape)


def _closeness(index, h: int, w: int, theta, d):
    """D (b, g, n)."""
    place = torch.arange(h * w)
    total = 0
    for axis, at in enumerate((lambda i: i // w, lambda i: i % w)):
        distance = (at(place) - at(index)[..., None]).abs()
        total = total + torch.exp(-0.5 * (theta[axis] * distance / d) ** 2)
    return total / (2 * d * math.sqrt(2 * math.pi))
