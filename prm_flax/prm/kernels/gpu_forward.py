"""The forward kernel of a GPU."""

import jax.numpy as jnp

from prm_flax.prm.kernels import gpu_tiles as tile
from prm_flax.prm.kernels.options import Options


def forward_body(
    size: tuple[int, int], tile_: int, has_affine: bool, options: Options, *refs
):
    """refs: θ and d, α β λ ξ, affine?, features, identity?; y, what backward wants."""
    shared, four, *refs = refs
    affine = refs.pop(0) if has_affine else None
    x_ref, *identity, y_ref, index, pair, numbers = refs
    params = tile.unpack(shared, four)
    tiles = tile.Tiles(x_ref, affine, identity, size, tile_)
    seen = tile.look(tiles)

    def score(number):
        return tile.scores(tiles, number, seen, params, options).score

    moments = tile.moments(tiles, score, options)

    def body(number, carry):
        normed = moments.normed(score(number))
        gate = tile.sigmoid(params.lam * normed + params.xi)
        # Rounded where separate operations would write it.
        y = (tiles.x(number) * gate[..., None]).astype(y_ref.dtype).astype(jnp.float32)
        for each in tiles.others(number):
            y = y + each
        tiles.write(y_ref, number, jnp.maximum(y, 0.0) if options.relu else y)
        return carry

    tiles.over(body, 0)
    index[...] = seen.place
    pair[0], pair[1] = seen.query, seen.context
    numbers[0], numbers[1] = moments
