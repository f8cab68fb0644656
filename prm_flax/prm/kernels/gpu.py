"""PRM on a GPU: one kernel forward and one backward."""

import functools
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

# Numbers of x that one program keeps in registers at most, and as many as it should
# where there is a choice: backward holds more arrays, and more would not stay there.
KEPT, FORWARD, BACKWARD = 1 << 14, 1 << 14, 1 << 13
# Positions of a tile where the map is larger.
STREAMED = 64
# Channels of a program: 16 of two bytes fill the 32 that a GPU moves at once.
CHANNELS = (64, 32, 16)
# A warp for so many numbers of a tile, within bounds.
NUMBERS_OF_A_WARP, WARPS = 1 << 9, (4, 16)
# In the name of a kernel's operation: so many bytes are read beyond one time each.
READ_AGAIN = "bytes_read_again"


class Plan(NamedTuple):
    """Groups of a program, positions of a tile, warps."""

    groups: int
    tile: int
    warps: int


def plan(shape: tuple[int, ...], groups: int, numbers: int = FORWARD) -> Plan | None:
    """How x (..., h, w, c) is shared among programs; None if it cannot be.

    Args:
        shape: of x.
        groups: g.
        numbers: that a program should keep.
    """
    h, w, channels = shape[-3:]
    each = channels // groups
    if each & (each - 1) or groups & (groups - 1):
        return None  # the language's arrays are of powers of two
    whole = max(1 << (h * w - 1).bit_length(), 16)
    counts = [min(max(number // each, 1), groups) for number in CHANNELS]
    kept = [count for count in counts if whole * count * each <= KEPT]
    if not kept:
        return Plan(counts[0], STREAMED, _warps(STREAMED * counts[0] * each))
    count = next((c for c in kept if whole * c * each <= numbers), kept[-1])
    return Plan(count, whole, _warps(whole * count * each))


def _warps(numbers: int) -> int:
    least, most = WARPS
    return min(max(numbers // NUMBERS_OF_A_WARP, least), most)


def fits(shape: tuple[int, ...], itemsize: int, groups: int, runs: int) -> bool:
    """Whether there is a plan for features (b, h, w, C); of any runs."""
    return plan(shape, groups) is not None


def forward(
    branch: Branch, params: PRMParams, options: Options, interpret: bool = False
) -> tuple[jax.Array, tuple]:
    """The end of the branch, and what `backward` wants of it.

    A small map moves once between the chip and its memory; a larger one's features are
    read three times, the identity once.

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
    """The cotangents; a larger map's features, dy and y are read twice.

    The second pass is linear in three sums that the first takes.

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
    numbers = BACKWARD if seen else FORWARD
    c, planned = channels // g, plan(branch.features.shape, g, numbers)
    assert planned is not None
    count, n = planned.groups, h * w
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
    again = _read_again(planned, n, len(seen) > 0, [a.nbytes for a in features])
    with jax.named_scope(f"{READ_AGAIN}={again}"):
        return run(*arrays, *seen, *features)


def _read_again(planned: Plan, n: int, backward: bool, sizes: list[int]) -> int:
    """Bytes that a kernel reads more than once, as a compiled program cannot tell."""
    tiles = pl.cdiv(n, planned.tile)
    if tiles == 1:
        return 0
    # Backward, all again. Forward, the features twice more, and their first tile.
    return sum(sizes) if backward else int(sizes[0] * (2 + 1 / tiles))


def _spec(block, place) -> pl.BlockSpec:
    """The j-th share of the groups of the i-th image."""

    def where(j, i):
        return (i, *(j if axis is None else 0 for axis in place))

    return pl.BlockSpec((None, *block), where)
