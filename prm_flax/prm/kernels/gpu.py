"""PRM on a GPU: one kernel forward and one backward."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from prm_flax.prm.functional import PRMParams
from prm_flax.prm.kernels import sums
from prm_flax.prm.kernels.gpu_backward import backward_body
from prm_flax.prm.kernels.gpu_forward import forward_body
from prm_flax.prm.kernels.options import Branch, Cotangents, Options


class Plan(NamedTuple):
    """Channels of a program, positions of a tile, warps."""

    channels: int
    tile: int
    warps: int


# Positions of a map, up to -> the plan that was fastest on an H200, at ResNet-50's maps
# of 7², 14², 28² and 56² with 128 images in bfloat16, out of some ten each.
FORWARD = {
    64: Plan(32, 64, 2),
    400: Plan(64, 16, 2),
    1600: Plan(128, 32, 8),
    math.inf: Plan(128, 64, 16),
}
BACKWARD = {
    64: Plan(64, 64, 4),
    400: Plan(64, 16, 2),
    1600: Plan(64, 32, 4),
    math.inf: Plan(128, 32, 16),
}


def plan(shape: tuple[int, ...], groups: int, plans: dict[float, Plan]) -> Plan:
    """How x (..., h, w, c) is shared among programs: whole groups each.

    Where groups have more channels than a program should, or there are fewer in all,
    tiles have so many positions that a program's numbers stay the same.

    Args:
        shape: of x.
        groups: g.
        plans: of `forward`, or of `backward`.
    """
    h, w, channels = shape[-3:]
    positions, each = h * w, channels // groups
    channels_, tile, warps = next(p for most, p in plans.items() if positions <= most)
    own = min(max(channels_, each), channels)
    # Each position has numbers of its own, too: as if a group had four channels.
    taken = own // each * max(each, LEAST)
    whole = 1 << (positions - 1).bit_length()
    return Plan(own, min(max(tile * channels_ // taken, 1), whole), warps)


LEAST = 4


def fits(shape: tuple[int, ...], itemsize: int, groups: int, runs: int) -> bool:
    """Whether there is a kernel for features (b, h, w, C); of any runs."""
    each = shape[-1] // groups
    # The language's arrays are of powers of two.
    return not (each & (each - 1) or groups & (groups - 1))


def forward(
    branch: Branch, params: PRMParams, options: Options, interpret: bool = False
) -> tuple[jax.Array, tuple]:
    """The end of the branch, and what `backward` wants of it.

    The features are read three times, a map of at most 64 positions once: for query
    and mean, for mean and spread of the scores, for the result. The identity once.

    Args:
        branch: one that `fits`, of float32 or half precision.
        params: of PRM.
        options: of PRM.
        interpret: run on any machine, slowly.
    """
    names = ("features", "index", "pair", "numbers")
    more = () if branch.identity is None else (branch.identity,)
    y, *seen = _call(forward_body, branch, params, options, interpret, names, (), more)
    return y.reshape(branch.features.shape), tuple(seen)


def backward(
    branch: Branch,
    params: PRMParams,
    options: Options,
    y: jax.Array,
    seen: tuple,
    dy: jax.Array,
    interpret: bool = False,
) -> Cotangents:
    """The cotangents.

    Features, dy and y are read three times, a map of at most 64 positions once: for the
    sums that the scores' cotangents take, for the sums over those, for the result.

    Args:
        branch: as `forward` had it.
        params: as `forward` had them.
        options: as `forward` had them.
        y: what `forward` gave.
        seen: what `forward` gave besides.
        dy: cotangent of y.
        interpret: run on any machine, slowly.
    """
    names = ("features", "sums") + (("rates",) if branch.affine is not None else ())
    more = (dy, y) if options.relu else (dy,)
    dx, found, *rates = _call(
        backward_body, branch, params, options, interpret, names, seen, more
    )
    parameters = found.sum(0)[: sums.PARAMETERS]
    affine = _to_affine(branch, rates[0]) if rates else None
    dx = dx.reshape(branch.features.shape)
    return Cotangents(dx, affine, sums.to_params(parameters, params))


def _to_affine(branch: Branch, rates):
    assert branch.affine is not None
    runs, channels = branch.affine.mean.shape
    of_runs = rates.reshape(runs, -1, sums.AFFINE, channels).sum(1)
    return sums.to_affine(of_runs[:, 0], of_runs[:, 1], branch.affine)


def _call(body, branch: Branch, params, options, interpret, outputs, seen, more):
    """Runs a kernel: a program for each image and some groups."""
    b, h, w, channels = branch.features.shape
    g = params.alpha.shape[0]
    planned = plan(branch.features.shape, g, BACKWARD if seen else FORWARD)
    c, n = channels // g, h * w
    count = planned.channels // c
    kinds = {
        # Name -> block, its place in the array's last axes, shape and dtype of it all.
        "features": ((n, count, c), (0, None, 0), (n, g, c), branch.features.dtype),
        "index": ((count,), (None,), (g,), jnp.int32),
        "pair": ((2, count, c), (0, None, 0), (2, g, c), jnp.float32),
        "numbers": ((4, count), (0, None), (4, g), jnp.float32),
        "sums": ((8, count), (0, None), (8, g), jnp.float32),
        "rates": ((2, count, c), (0, None, 0), (2, g, c), jnp.float32),
    }
    specs = {name: _spec(*kind[:2]) for name, kind in kinds.items()}
    arrays = [*sums.pack(params)]
    in_specs = [
        pl.BlockSpec((4,), lambda j, i: (0,)),
        pl.BlockSpec((4, count), lambda j, i: (0, j)),
    ]
    if branch.affine is not None:
        mean, factor, bias = branch.affine
        runs = mean.shape[0]
        three = jnp.stack([mean, factor, jnp.broadcast_to(bias, mean.shape)], 1)
        arrays.append(three.reshape(runs, 3, g, c))
        images = b // runs
        block = (None, 3, count, c)
        in_specs.append(pl.BlockSpec(block, lambda j, i: (i // images, 0, j, 0)))
    features = [array.reshape(b, n, g, c) for array in (branch.features, *more)]
    names = ["index", "pair", "numbers"][: len(seen)] + ["features"] * len(features)
    run = pl.pallas_call(
        functools.partial(
            body, (h, w), planned.tile, branch.affine is not None, options
        ),
        # The first number runs fastest: programs at a time take an image's groups,
        # which lie beside one another in memory.
        grid=(g // count, b),
        in_specs=[*in_specs, *(specs[name] for name in names)],
        out_specs=[specs[name] for name in outputs],
        out_shape=[
            jax.ShapeDtypeStruct((b, *kinds[name][2]), kinds[name][3])
            for name in outputs
        ],
        compiler_params=triton.CompilerParams(num_warps=planned.warps, num_stages=1),
        interpret=interpret,
    )
    return run(*arrays, *seen, *features)


def _spec(block, place) -> pl.BlockSpec:
    """The j-th share of the groups of the i-th image."""

    def where(j, i):
        return (i, *(j if axis is None else 0 for axis in place))

    return pl.BlockSpec((None, *block), where)
