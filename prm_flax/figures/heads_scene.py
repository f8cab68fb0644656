"""The arrays in the picture of the heads: attention's and PRM's, of one input."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from prm_flax.figures.scene import (
    CHANNELS,
    GROUPS,
    SIZE,
    channel_means,
    features,
    parameters,
)
from prm_flax.prm.functional import recalibrate

# Attention's maps are of pairs: of more positions nothing could be seen.
POOLED = 10
SEED = 4
# Makes the maps of random projections as uneven as those of trained ones.
SHARPNESS = 12.0


class HeadsScene(NamedTuple):
    """What the picture shows, by head.

    Attributes:
        before: (g, h, w) channel means of x.
        attention: (g, n, n) rows that sum to 1, of n = 10 × 10 positions.
        attended: (g, 10, 10) channel means of what attention gives.
        mixed: (g, 10, 10) the same of the heads' mixture W_o.
        queries: (g, 2) row and column of PRM's query positions.
        gates: (g, h, w) PRM's.
        after: (g, h, w) channel means of PRM's y.
    """

    before: np.ndarray
    attention: np.ndarray
    attended: np.ndarray
    mixed: np.ndarray
    queries: np.ndarray
    gates: np.ndarray
    after: np.ndarray


def heads_scene() -> HeadsScene:
    """Runs multi-head attention, of random projections, and PRM on `features`.

    Attention's head k of g, of x with n positions in rows and C columns::

        A_k = softmax(s · x Q_k (x K_k)ᵀ / √(C/g)),   y = [A_1 x V_1, …, A_g x V_g] W_o
    """
    x = features()
    y, maps = recalibrate(jnp.asarray(x), parameters(), return_maps=True)
    attention, attended, mixed = _attention(_pooled(x))
    gates = np.moveaxis(np.asarray(maps.gate), -1, 0)
    return HeadsScene(
        channel_means(x),
        attention,
        attended,
        mixed,
        np.asarray(maps.query),
        gates,
        channel_means(y),
    )


def _pooled(x: np.ndarray) -> np.ndarray:
    window = SIZE // POOLED
    parts = x.reshape(POOLED, window, POOLED, window, -1)
    return parts.mean((1, 3)).reshape(POOLED**2, -1)


def _attention(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random, c = np.random.default_rng(SEED), GROUPS * CHANNELS
    to_qkv = random.normal(size=(3, GROUPS, c, CHANNELS)) / np.sqrt(c)
    q, k, v = np.einsum("nc,pgcd->pgnd", x, to_qkv)
    scores = SHARPNESS * np.einsum("gnd,gmd->gnm", q, k) / np.sqrt(CHANNELS)
    attention = np.asarray(jax.nn.softmax(jnp.asarray(scores), axis=-1))
    heads = np.einsum("gnm,gmd->gnd", attention, v)
    joined = np.moveaxis(heads, 0, 1).reshape(len(x), c)
    mixed = joined @ random.normal(size=(c, c)) / np.sqrt(c)
    by_group = mixed.reshape(POOLED, POOLED, GROUPS, CHANNELS).mean(-1)
    size = GROUPS, POOLED, POOLED
    return attention, heads.mean(-1).reshape(size), np.moveaxis(by_group, -1, 0)
