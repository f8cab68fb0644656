"""The made-up feature map in the module's picture, and what PRM makes of it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from prm_flax.prm.functional import PRMParams, recalibrate

SIZE, GROUPS, CHANNELS = 20, 4, 8
# Chosen by eye so that each term of the formula shows in the picture.
ALPHA, BETA, LAM, XI = 8.0, 1.0, 1.1, -0.3
THETA, D = (1.0, 0.7), 4.0


class Scene(NamedTuple):
    """The first group's arrays, and every group's features.

    Attributes:
        before: (g, h, w) channel means of x.
        after: (g, h, w) channel means of y.
        query: (2,) row and column of the query position.
        q: (c,) x there.
        z: (c,) mean of x over the positions.
        position: (h, w) D.
        sim_query: (h, w) φ(x, q).
        sim_context: (h, w) φ(x, z).
        scores: (h, w) S.
        gate: (h, w) in (0, 1).
    """

    before: np.ndarray
    after: np.ndarray
    query: np.ndarray
    q: np.ndarray
    z: np.ndarray
    position: np.ndarray
    sim_query: np.ndarray
    sim_context: np.ndarray
    scores: np.ndarray
    gate: np.ndarray


def features() -> np.ndarray:
    """A smooth feature map: in each group two objects alike, and a ground.

    Returns:
        (h, w, g·c) float32; the brighter object of the first group is upper left.
    """
    row, column = np.mgrid[:SIZE, :SIZE] / (SIZE - 1)

    def blob(r, c, height, width):
        return np.exp(-(((row - r) / height) ** 2) - ((column - c) / width) ** 2)

    channel = np.arange(CHANNELS) / CHANNELS
    ground = 0.9 * blob(0.05, 1.0, 0.45, 0.5) + 0.5 * blob(1.05, 0.0, 0.3, 0.6)
    groups = []
    for k in range(GROUPS):
        of_objects = 0.45 + 0.55 * np.cos(2 * np.pi * (channel - 0.13 * k))
        of_ground = 0.25 - 0.75 * np.cos(2 * np.pi * (channel - 0.13 * k - 0.1))
        shift = 0.09 * k
        objects = (
            blob(0.30 + shift, 0.34, 0.22, 0.16)
            + 0.55 * blob(0.46 + shift, 0.22, 0.12, 0.20)
            + 0.85 * blob(0.74, 0.76 - shift, 0.17, 0.15)
        )
        groups.append(objects[..., None] * of_objects + ground[..., None] * of_ground)
    return np.concatenate(groups, axis=-1).astype(np.float32)


def scene() -> Scene:
    """Runs `recalibrate` on `features`.

    Returns:
        What the picture shows, as NumPy arrays.
    """
    x = jnp.asarray(features())
    y, maps = recalibrate(x, parameters(), return_maps=True)
    first = np.asarray(x)[..., :CHANNELS]
    query = np.asarray(maps.query)[0]
    drawn = (np.asarray(m)[..., 0] for m in maps[1:])
    return Scene(
        channel_means(x),
        channel_means(y),
        query,
        first[tuple(query)],
        first.mean((0, 1)),
        *drawn,
    )


def parameters() -> PRMParams:
    """Of the PRM in the pictures, all groups alike."""
    each = jnp.ones(GROUPS)
    return PRMParams(
        ALPHA * each, BETA * each, LAM * each, XI * each, jnp.array(THETA), jnp.array(D)
    )


def channel_means(x) -> np.ndarray:
    """(h, w, g·c) -> (g, h, w)."""
    groups = np.asarray(x).reshape(SIZE, SIZE, GROUPS, CHANNELS)
    return np.moveaxis(groups.mean(-1), -1, 0)
