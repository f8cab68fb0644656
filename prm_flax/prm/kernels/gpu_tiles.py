"""How both GPU kernels go through one image's positions and some of its groups.

A program sees arrays (n, g, c), all positions of one image and a few groups, and works
on tiles of them, since a tile must fit the registers. The smallest maps are one tile,
which is read once and kept; others are read again in each pass over the positions, by
so many programs of few warps that loads and sums of different ones overlap.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton


class Tiles:
    """One program's share of x and of arrays of its shape (n, g, c), tile by tile.

    A sum over all positions is kept place by place of a tile, and the tile's places are
    added once, at the end: that alone makes a program's warps wait for one another.

    Args:
        ref: the features, in which x is affine.
        affine: (3, g, c) mean, factor and bias, or None where x is the features.
        others: the other arrays.
        size: h and w of the map.
        tile: positions of a tile, a power of two.
    """

    def __init__(self, ref, affine, others, size: tuple[int, int], tile: int):
        self.refs, self.tile, self.width = (ref, *others), tile, size[1]
        self.affine = None if affine is None else [affine[i] for i in range(3)]
        self.dtype = ref.dtype
        self.shape = ref.shape[1:]
        self.positions = size[0] * size[1]
        self.count = pl.cdiv(self.positions, tile)
        # A map of one tile is read once.
        self.only = self._load(0) if self.count == 1 else None

    def over(self, body: Callable, init: Any, alone: bool = False, rounds=None) -> Any:
        """`body(tile, carry)` for each tile, while the next is on its way.

        Args:
            body: what is done with a `Tile`.
            init: the first carry.
            alone: whether the features are all it takes, no other array.
            rounds: so many tiles, all unless said.
        """
        only = self.only
        if only and rounds is None:
            return body(only, init)
        count = self.count if rounds is None else rounds
        if only:
            return lax.fori_loop(0, count, lambda _, carry: body(only, carry), init)

        def step(number, state):
            arrays, carry = state
            ahead = self._load(number + 1, alone).arrays
            return ahead, body(Tile(self, number, arrays), carry)

        first = self._load(0, alone).arrays
        return lax.fori_loop(0, count, step, (first, init))[1]

    def _load(self, number, alone: bool = False) -> "Tile":
        """Nothing is read beyond the last position."""
        mask = Tile(self, number, []).real[..., None]
        arrays = [
            triton.load(
                ref.at[pl.ds(number * self.tile, self.tile)],
                mask=jnp.broadcast_to(mask, (self.tile, *self.shape)),
                other=0.0,
            )
            for ref in (self.refs[:1] if alone else self.refs)
        ]
        return Tile(self, number, arrays)

    def x_at(self, place: jax.Array) -> jax.Array:
        """X of each group's own position: (g,) -> (g, c)."""
        group, channel = (
            lax.broadcasted_iota(jnp.int32, self.shape, i) for i in (0, 1)
        )
        places = jnp.broadcast_to(place[:, None], self.shape)
        found = triton.load(self.refs[0].at[places, group, channel])
        return self.of_norm(found.astype(jnp.float32))

    def of_norm(self, features: jax.Array) -> jax.Array:
        """X in float32, of a norm's precision."""
        if self.affine is None:
            return features
        mean, factor, bias = self.affine
        x = (features - mean) * factor + bias
        return x.astype(self.dtype).astype(jnp.float32)

    def pull(self, dx: jax.Array) -> jax.Array:
        """The cotangent of the features, given that of x."""
        return dx if self.affine is None else dx * self.affine[1]

    def zeros(self, channels: bool = False) -> jax.Array:
        """Where sums of each place of a tile begin: (tile, g), or (tile, g, c)."""
        shape = (self.tile, *self.shape[: 2 if channels else 1])
        return jnp.zeros(shape, jnp.float32)

    def rounds(self) -> jax.Array:
        """(tile, 1) float32, how many tiles have a position at each place."""
        places = lax.iota(jnp.int32, self.tile)[:, None]
        last = places < self.positions - (self.count - 1) * self.tile
        return self.count - 1.0 + last.astype(jnp.float32)

    def at_first(self, values: jax.Array) -> jax.Array:
        """(tile, g) of the first tile -> (g,) at the first position."""
        first = lax.iota(jnp.int32, self.tile)[:, None] == 0
        return jnp.where(first, values, 0.0).sum(0)


class Tile:
    """Some positions one after the other.

    Attributes:
        number: of the tile.
        arrays: the features, and the others if they were asked for, as they lie.
        index: (tile,) the positions' numbers.
        real: (tile, 1) whether there is such a position.
    """

    def __init__(self, tiles: Tiles, number, arrays: list[jax.Array]):
        self.tiles, self.number, self.arrays = tiles, number, arrays
        self.index = number * tiles.tile + lax.iota(jnp.int32, tiles.tile)
        self.real = (self.index < tiles.positions)[:, None]

    @property
    def x(self) -> jax.Array:
        """In float32; 0 beyond the last position."""
        x = self.tiles.of_norm(self.arrays[0].astype(jnp.float32))
        if self.tiles.affine is None:
            return x
        return jnp.where(self.real[..., None], x, 0.0)

    @property
    def centred(self) -> jax.Array:
        """The features less the affine's mean, anything past the last position."""
        assert self.tiles.affine is not None
        return self.arrays[0].astype(jnp.float32) - self.tiles.affine[0]

    @property
    def others(self) -> list[jax.Array]:
        """The other arrays in float32; 0 beyond the last position."""
        return [each.astype(jnp.float32) for each in self.arrays[1:]]

    def write(self, ref, value: jax.Array) -> None:
        """Up to the last position."""
        size = self.tiles.tile
        mask = jnp.broadcast_to(self.real[..., None], value.shape)
        place = ref.at[pl.ds(self.number * size, size)]
        triton.store(place, value.astype(ref.dtype), mask=mask)
