"""PRM as products of matrices: on a TPU, for maps that no kernel takes.

A register of a TPU has 128 numbers of the last axis. Features as (positions, groups,
channels of a group) leave most of it empty: eight channels take sixteen times their
memory. Here features stay (positions, C), and a sum over each group's channels is a
product with G of (C, g), which is 1 where a channel is of a group::

    x·q = x (G ∘ q),    the gate of all channels = gate Gᵀ

On a detector's maps that moves less than half of the definition's traffic. Only the dot
product is a product; the other similarities are the definition, so are groups of 128
channels, which fill a register as they are.

A product with 0 is not 0 if a number is not finite: then every group of its position
is, not only its own.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from prm_flax.layers.explicit import on_whole_maps
from prm_flax.layers.extent import cut, positions_within
from prm_flax.prm.checks import check_extent, check_input
from prm_flax.prm.functional import (
    PRMParams,
    in_core,
    mean,
    normalized,
    position_encoding,
)
from prm_flax.prm.functional import recalibrate as definition

REGISTER = 128  # numbers of the last axis in a register
# float32's products in float32: a TPU takes them in bfloat16 otherwise.
product = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)


def recalibrate(
    x: jax.Array,
    params: PRMParams,
    *,
    similarity: str = "dot",
    ddof: int = 0,
    position: bool = True,
    normalize: bool = True,
    extent: jax.Array | None = None,
) -> jax.Array:
    """The definition's y; arguments as there."""
    options: Any = {"ddof": ddof, "position": position, "normalize": normalize}
    fills = x.shape[-1] // len(params.alpha) >= REGISTER
    if similarity != "dot" or fills:
        y: Any = definition(x, params, similarity=similarity, extent=extent, **options)
        return y
    params = PRMParams(*(jnp.asarray(leaf) for leaf in params))
    check_input(x, params, None, similarity, ddof)
    check_extent(x, extent)
    run = functools.partial(_recalibrate, **options)
    return on_whole_maps(run, x)(x, params, extent)


def _recalibrate(
    x: Any,
    params: PRMParams,
    extent: Any,
    *,
    ddof: int,
    position: bool,
    normalize: bool,
) -> jax.Array:
    """The same after all checks."""
    *batch, h, w, channels = x.shape
    g = params.alpha.shape[0]
    core, (alpha, beta, lam, xi, theta, d) = in_core(params, x)

    xs = cut(x, extent).astype(core).reshape(*batch, h * w, channels)
    within = positions_within(extent, h, w)
    groups = jnp.repeat(jnp.eye(g, dtype=core), channels // g, axis=0)
    index = _query_index(lax.stop_gradient(xs), groups, within)
    query = _at(xs, jnp.repeat(index, channels // g, axis=-1))
    context = mean(xs, axis=-2, within=within)

    of_both = jnp.concatenate([_on_groups(v, groups) for v in (query, context)], -1)
    both = product("...nc,...cg->...ng", xs, of_both)
    sim_query, sim_context = both[..., :g], both[..., g:]
    if position:
        row_column = jnp.stack([index // w, index % w], axis=-1)
        sim_query = sim_query * position_encoding(row_column, theta, d, (h, w))
    scores = alpha * sim_query + beta * sim_context
    normed = normalized(scores, ddof, axis=-2, within=within) if normalize else scores
    gate = jax.nn.sigmoid(lam * normed + xi)
    y = (xs * product("...ng,cg->...nc", gate, groups)).reshape(x.shape)
    return cut(y, extent).astype(x.dtype)


def _query_index(xs: Any, groups: Any, within: Any) -> jax.Array:
    """Each group's position of the largest sum over channels, the first on a tie."""
    salience = product("...nc,cg->...ng", xs, groups)
    if within is not None:
        salience = jnp.where(within, salience, -jnp.inf)
    return jnp.argmax(salience, axis=-2).astype(jnp.int32)


def _at(xs: Any, index: Any) -> jax.Array:
    """Each channel's number at its position: a sum, as its transpose is no scatter."""
    place = lax.broadcasted_iota(jnp.int32, (xs.shape[-2], 1), 0)
    chosen = place == index[..., None, :]
    return jnp.where(chosen, xs, 0).sum(-2, keepdims=True)


def _on_groups(v: Any, groups: Any) -> jax.Array:
    """(..., 1, C) as (..., C, g): each channel's number in the column of its group."""
    return jnp.swapaxes(v, -1, -2) * groups
