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
        made = tile.scores(tiles, number, seen, params, options)
        normed = moments.normed(made.score)
        gate = tile.sigmoid(params.lam * normed + params.xi)
        # Rounded where separate operations would write it.
        y = (tiles.x(number) * gate[..., None]).astype(y_ref.dtype).astype(jnp.float32)
        for each in tiles.others(number):
            y = y + each
        tiles.write(y_ref, number, jnp.maximum(y, 0.0) if options.relu else y)
        return _lean(tiles, number, made, normed, carry) if tiles.count > 1 else carry

    zero = jnp.zeros(tiles.shape[:1], jnp.float32)
    lines = tiles.over(body, [zero] * 4)
    index[...] = seen.place
    pair[0], pair[1] = seen.query, seen.context
    for i, number in enumerate((*moments, *(each / tiles.positions for each in lines))):
        numbers[i] = number


def _lean(tiles: tile.Tiles, number, made: tile.Scores, normed, carry):
    """Σ f and Σ f T over positions, of the factors of α and of β."""
    real = tiles.real(number)
    normed = jnp.where(real, normed, 0.0)
    by_query, by_context = (jnp.where(real, f, 0.0) for f in tile.factors(made)[:2])
    found = by_query, by_query * normed, by_context, by_context * normed
    return [sum_ + each.sum(0) for sum_, each in zip(carry, found, strict=True)]
