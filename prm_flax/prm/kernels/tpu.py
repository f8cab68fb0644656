"""PRM on a TPU: one kernel forward and one backward."""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from prm_flax.prm.functional import PRMParams
from prm_flax.prm.kernels import sums
from prm_flax.prm.kernels.options import Branch, Cotangents, Options
from prm_flax.prm.kernels.tpu_backward import backward_body
from prm_flax.prm.kernels.tpu_forward import forward_body

# Images and channels of a block: a register is 8 × 128.
IMAGES, LANES = 8, 128
# Of the chip's memory next to its registers; a v5e, v5p or v6e has 128 MiB. A kernel
# asks for what its blocks and a few rows take: XLA keeps other arrays in the rest.
MEMORY, ROWS = 100 << 20, 8 << 20


def fits(shape: tuple[int, ...], itemsize: int, groups: int, runs: int) -> bool:
    """Whether blocks of features (b, h, w, C) fit, and hold images of one run each."""
    b, h, w, channels = shape
    lanes = _lanes(channels, groups)
    if lanes is None or (runs > 1 and b // runs % IMAGES):
        return False
    # Features, their cotangent, the result and its; two arrays of float32.
    return _memory((h, w, IMAGES, lanes), 4, itemsize, 2) <= MEMORY


def _memory(block: tuple[int, ...], arrays: int, itemsize: int, work: int) -> int:
    """Bytes of a kernel: each array twice, as the next block is on its way.

    A block of fewer images or channels than a register's takes whole registers.
    """
    h, w, images, lanes = block
    numbers = h * w * _up_to(images, IMAGES) * _up_to(lanes, LANES)
    return numbers * (2 * arrays * itemsize + 4 * work) + ROWS


def _up_to(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _lanes(channels: int, groups: int) -> int | None:
    """Channels of a block: whole groups and whole registers, or all; None: too many."""
    if channels <= LANES:
        return channels
    each = channels // groups
    for lanes in range(LANES, 4 * LANES + 1, LANES):
        if channels % lanes == 0 and lanes % each == 0:
            return lanes
    return channels if channels <= 4 * LANES else None


def forward(
    branch: Branch, params: PRMParams, options: Options, interpret: bool = False
) -> tuple[jax.Array, tuple]:
    """The end of the branch and what `backward` wants of it, which is nothing.

    The features and the identity are read once, the result is written once.

    Args:
        branch: one that `fits`, of float32 or half precision.
        params: of PRM.
        options: of PRM.
        interpret: run on any machine, slowly.
    """
    more = () if branch.identity is None else (branch.identity,)
    (y,) = _call(forward_body, branch, params, options, interpret, more, work=1)
    return y, ()


def backward(
    branch: Branch,
    params: PRMParams,
    options: Options,
    y: jax.Array,
    seen: tuple,
    dy: jax.Array,
    interpret: bool = False,
) -> Cotangents:
    """The cotangents; features, result and its cotangent are read once.

    Args:
        branch: as `forward` had it.
        params: as `forward` had them.
        options: as `forward` had them.
        y: what `forward` gave.
        seen: what `forward` gave besides.
        dy: cotangent of y.
        interpret: run on any machine, slowly.
    """
    more = (dy, y) if options.relu else (dy,)
    dx, found = _call(
        backward_body, branch, params, options, interpret, more, work=2, sums_too=True
    )
    each = branch.features.shape[-1] // params.alpha.shape[0]
    parameters = found.sum(0)[: sums.PARAMETERS, ::each]
    return Cotangents(dx, _to_affine(branch, found), sums.to_params(parameters, params))


def _to_affine(branch: Branch, found):
    if branch.affine is None:
        return None
    runs, channels = branch.affine.mean.shape
    rows = found[:, sums.PARAMETERS : sums.PARAMETERS + sums.AFFINE]
    of_runs = rows.reshape(runs, -1, sums.AFFINE, channels).sum(1)
    return sums.to_affine(of_runs[:, 0], of_runs[:, 1], branch.affine)


def _call(
    body, branch: Branch, params, options, interpret, more, *, work, sums_too=False
):
    """Runs a kernel over blocks of the features and whatever has their shape."""
    b, h, w, channels = branch.features.shape
    each = channels // params.alpha.shape[0]
    lanes, images = _lanes(channels, params.alpha.shape[0]), min(IMAGES, b)
    assert lanes is not None  # as it fits
    grid = (pl.cdiv(b, images), channels // lanes)
    shape = (h, w, images, lanes)
    features = pl.BlockSpec(shape, lambda i, j: (0, 0, i, j))
    vectors = pl.BlockSpec((4, lanes), lambda i, j: (0, j))
    shared, four = sums.pack(params)
    arrays = [shared, jnp.repeat(four, each, axis=1)]
    specs = [pl.BlockSpec(memory_space=pltpu.SMEM), vectors]
    if branch.affine is not None:
        mean, factor, bias = branch.affine
        arrays.append(jnp.stack([mean, factor, jnp.broadcast_to(bias, mean.shape)], 1))
        blocks = grid[0] // mean.shape[0] if mean.shape[0] > 1 else grid[0]
        specs.append(pl.BlockSpec((None, 3, lanes), lambda i, j: (i // blocks, 0, j)))
    # The axes as the chip has them: for features of its convolutions no copy.
    arrays += [array.transpose(1, 2, 0, 3) for array in (branch.features, *more)]
    specs += [features] * (1 + len(more))
    dtype = branch.features.dtype
    results = [(features, jax.ShapeDtypeStruct((h, w, b, channels), dtype))]
    if sums_too:
        of_block = pl.BlockSpec((None, sums.ROWS, lanes), lambda i, j: (i, 0, j))
        whole = jax.ShapeDtypeStruct((grid[0], sums.ROWS, channels), jnp.float32)
        results.append((of_block, whole))
    memory = _memory(shape, 2 + len(more), dtype.itemsize, work)
    outputs = pl.pallas_call(
        functools.partial(body, each, b, branch.affine is not None, options),
        grid=grid,
        in_specs=specs,
        out_specs=[spec for spec, _ in results],
        out_shape=[whole for _, whole in results],
        scratch_shapes=[pltpu.VMEM(shape, jnp.float32)] * work,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel"), vmem_limit_bytes=memory
        ),
        interpret=interpret,
    )(*arrays)
    return outputs[0].transpose(2, 0, 1, 3), *outputs[1:]
