"""What heads say at every position of a pyramid, and the anchors it is relative to."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from prm_flax.detection.anchors import AnchorRule, all_anchors, level_anchors
from prm_flax.layers.extent import inside

# Positions along a side of a level, at most, so that anchors can be numbered.
LONGEST = 4096


class DenseOutputs(NamedTuple):
    """What a dense head says at every position, by level, finest first.

    Attributes:
        logits: (b, h, w, anchors, classes) each.
        deltas: (b, h, w, anchors, 4) each, dx, dy, dw, dh.
    """

    logits: tuple[jax.Array, ...]
    deltas: tuple[jax.Array, ...]

    @property
    def box_dtype(self) -> Any:
        """The dtype of boxes and losses: float32 at least."""
        return jnp.promote_types(self.deltas[0].dtype, jnp.float32)

    def anchors(self, rule: AnchorRule, strides: tuple[int, ...]) -> list[Array]:
        """Of each level, (h·w·anchors, 4)."""
        found = zip(strides, self.deltas, strict=True)
        return [
            jnp.asarray(
                level_anchors(rule, s, (d.shape[1], d.shape[2])), self.box_dtype
            )
            for s, d in found
        ]

    def usable(self, extents: tuple[Any, ...]) -> list[Bool[Array, "b n"]]:
        """Which anchors of each level have their centre within the image's extent."""
        return [
            _usable(deltas.shape[:4], extent)
            for deltas, extent in zip(self.deltas, extents, strict=True)
        ]

    def anchored(
        self, rule: AnchorRule, strides: tuple[int, ...], extents: tuple[Any, ...]
    ) -> tuple[Float[Array, "b n 4"], Bool[Array, "b n"]]:
        """The anchors of all levels for each image, and which are usable."""
        sizes = [(deltas.shape[1], deltas.shape[2]) for deltas in self.deltas]
        own = jnp.asarray(all_anchors(rule, strides, sizes), self.box_dtype)
        own = jnp.broadcast_to(own, (self.deltas[0].shape[0], *own.shape))
        return own, jnp.concatenate(self.usable(extents), axis=1)

    def numbers(self) -> np.ndarray:
        """Each anchor's own number (n,) int32, the same for any size of the maps."""
        found = []
        for level, deltas in enumerate(self.deltas):
            _, h, w, count, _ = deltas.shape
            row, column, base = np.ogrid[:h, :w, :count]
            place = (level * LONGEST + row) * LONGEST + column
            found.append((place * count + base).ravel())
        return np.concatenate(found).astype(np.int32)

    def of_levels(self, x: Any) -> list[jax.Array]:
        """(b, n, …) of all anchors by level, (b, h, w, anchors, …) each."""
        found, start = [], 0
        for deltas in self.deltas:
            b, *position = deltas.shape[:4]
            end = start + position[0] * position[1] * position[2]
            found.append(x[:, start:end].reshape(b, *position, *x.shape[2:]))
            start = end
        return found


def _usable(shape: tuple[Any, ...], extent: Any) -> Bool[Array, "b n"]:
    b, h, w, count = shape
    if extent is None:
        return jnp.ones((b, h * w * count), bool)
    within = jnp.broadcast_to(inside(extent, h, w), shape)
    return within.reshape(b, h * w * count)
