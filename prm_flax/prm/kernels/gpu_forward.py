"""The forward kernel of a GPU."""

import jax.numpy as jnp

from prm_flax.prm.kernels import gpu_scores as prm
from prm_flax.prm.kernels.gpu_tiles import Tiles
from prm_flax.prm.kernels.options import Options


def forward_body(
    size: tuple[int, int], tile_: int, has_affine: bool, options: Options, *refs
):
    """refs: θ and d, α β λ ξ, affine?, features, identity?; y, what backward wants."""
    shared, four, *refs = refs
    affine = refs.pop(0) if has_affine else None
    x_ref, *identity, y_ref, index, pair, numbers = refs
    params = prm.unpack(shared, four)
    tiles = Tiles(x_ref, affine, identity, size, tile_)
    seen = prm.look(tiles)

    def made(at):
        return prm.scores(at, seen, params, options)

    moments = prm.moments(tiles, lambda at: made(at).score, options)

    def body(at, carry):
        found = made(at)
        gate = prm.sigmoid(params.lam * moments.normed(found.score) + params.xi)
        # Rounded where separate operations would write it.
        y = (at.x * gate[..., None]).astype(y_ref.dtype).astype(jnp.float32)
        for each in at.others:
            y = y + each
        at.write(y_ref, jnp.maximum(y, 0.0) if options.relu else y)
        two = prm.factors(found)[:2]
        return [a + jnp.where(at.real, b, 0.0) for a, b in zip(carry, two, strict=True)]

    totals = tiles.over(body, [tiles.zeros()] * 2)
    index[...] = seen.place
    pair[0], pair[1] = seen.query, seen.context
    means = (total.sum(0) / tiles.positions for total in totals)
    for i, number in enumerate((*moments, *means)):
        numbers[i] = number
