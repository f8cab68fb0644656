"""Which form of PRM runs where: the one place that decides.

`recalibrate` is the definition. On a GPU or TPU a kernel that equals it to rounding
reads the features once and writes the result once; it can take in what stands before
and after a PRM in a residual branch, the norm's last step, the addition and the ReLU.
On a CPU the separate operations are those that XLA is fast at there.
"""

import functools
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from prm_flax.layers.basic import relu
from prm_flax.layers.device import device
from prm_flax.layers.explicit import split_axes, splits_positions
from prm_flax.layers.norm import Affine
from prm_flax.prm.functional import PRMParams, recalibrate
from prm_flax.prm.kernels import cpu, gpu, products, tpu
from prm_flax.prm.kernels.options import Branch, Cotangents, Options
from prm_flax.prm.similarity import Total, sum_of_channels

# TPUs whose memory next to the registers holds the kernel's blocks.
TPUS = ("TPU v5", "TPU v6")


class Kernel(NamedTuple):
    """A platform's kernel.

    Attributes:
        platform: as `lax.platform_dependent` calls it.
        kinds: what its devices' kinds start with.
        fits: `(shape, itemsize, groups, runs)` of a device's features -> whether it can
            take them.
        forward: see `tpu.forward`.
        backward: see `tpu.backward`.
    """

    platform: str
    kinds: tuple[str, ...]
    fits: Callable[[tuple[int, ...], int, int, int], bool]
    forward: Callable[..., Any]
    backward: Callable[..., Any]


BY_PLATFORM: MappingProxyType[str, Kernel] = MappingProxyType(
    {
        "tpu": Kernel("tpu", TPUS, tpu.fits, tpu.forward, tpu.backward),
        "gpu": Kernel("cuda", ("NVIDIA",), gpu.fits, gpu.forward, gpu.backward),
        "cuda": Kernel("cuda", ("NVIDIA",), gpu.fits, gpu.forward, gpu.backward),
    }
)

# `recalibrate`, or what equals it: (x, params, **options) -> y.
Form = Callable[..., Any]
# Of separate operations; the definition elsewhere.
FORMS: MappingProxyType[str, Form] = MappingProxyType(
    {"cpu": cpu.recalibrate, "tpu": products.recalibrate}
)


def form(kernel: str, x: jax.Array) -> Form:
    """PRM as separate operations, for where no kernel runs.

    Args:
        kernel: "xla" for the definition; "auto" for what is fastest on the devices
            there are, if each has whole maps.
        x: (..., h, w, C) the features.
    """
    if kernel == "xla" or splits_positions(x) or not is_sized(x):
        return recalibrate
    return FORMS.get(device().platform, recalibrate)


def is_sized(x: jax.Array) -> bool:
    """Whether all sizes are numbers: `jax.export` has programs for any."""
    return all(isinstance(size, int) for size in x.shape)


def channel_sum() -> Total:
    """The sum over a group's channels for the devices there are; both derivatives."""
    return cpu.channel_sum if device().platform == "cpu" else sum_of_channels


def choose(features: jax.Array, groups: int, runs: int = 1) -> Kernel | None:
    """The kernel for a PRM of such features on the devices there are, if any.

    One runs on GPUs and TPUs if the features (b, h, w, C) are of float32 or half
    precision, fit, and lie on one device, or b is shared among the devices of the mesh
    that `jax.set_mesh` has set. A kernel has a reverse derivative, not a forward one.

    Args:
        features: what the PRM, or the norm before it, takes.
        groups: g.
        runs: of b/runs images each, that the norm before it takes statistics of.
    """
    if features.ndim != 4 or features.dtype == jnp.float64:
        return None
    platform, kind = device()
    kernel = BY_PLATFORM.get(platform)
    if kernel is None or not kind.startswith(kernel.kinds) or not is_sized(features):
        return None
    shares = _shares(features)
    b, *rest = features.shape
    if not shares or b % shares or (runs > 1 and runs % shares):
        return None
    shape = b // shares, *rest
    runs = max(runs // shares, 1)
    return kernel if kernel.fits(shape, features.dtype.itemsize, groups, runs) else None


def _shares(features: jax.Array) -> int:
    """How many devices take some of the images each; 0 if that is not known."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return int(jax.device_count() == 1)
    kinds = set(mesh.axis_types)
    if kinds == {AxisType.Manual}:
        return 1
    if kinds == {AxisType.Auto}:
        return mesh.size
    images, *whole = split_axes(features)
    if kinds != {AxisType.Explicit} or any(whole):
        return 0
    return math.prod(mesh.shape[axis] for axis in images)


def recalibrate_branch(
    kernel: Kernel | None,
    branch: Branch,
    params: PRMParams,
    options: Options,
    separate: Form = recalibrate,
) -> jax.Array:
    """relu(PRM(affine(features)) + identity) in the features' shape and dtype.

    Args:
        kernel: what `choose` said, or None for separate operations.
        branch: features (..., h, w, C), and what stands before and after the PRM.
        params: of g groups.
        options: the keywords of `recalibrate`, and whether a ReLU follows.
        separate: the separate operations of PRM, what `form` said.
    """
    if kernel is None:
        return plain_branch(branch, params, options, separate)
    run = functools.partial(by_kernel, kernel, options, False)
    return on_each_device(run, branch, params)


def plain_branch(
    branch: Branch, params: PRMParams, options: Options, separate: Form = recalibrate
) -> jax.Array:
    """The same as separate operations; differentiable both ways by the definition."""
    features, affine, identity = branch
    x = features if affine is None else affine.apply(features, features.dtype)
    y = separate(x, params, **options.keywords())
    y = y if identity is None else y + identity
    return relu(y) if options.relu else y


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def by_kernel(
    kernel: Kernel,
    options: Options,
    interpret: bool,
    branch: Branch,
    params: PRMParams,
) -> jax.Array:
    """`recalibrate_branch` by a kernel, on one device.

    Args:
        kernel: of `BY_PLATFORM`.
        options: as for `recalibrate_branch`.
        interpret: run the kernel on any machine, slowly.
        branch: one that fits the kernel.
        params: of PRM.
    """
    return _forward(kernel, options, interpret, branch, params)[0]


def _forward(kernel, options, interpret, branch, params):
    def fast(branch, params):
        return kernel.forward(branch, params, options, interpret)

    # Lowered for another platform all the same: its results in the kernel's form.
    def plain(branch, params):
        _, seen = jax.eval_shape(fast, branch, params)
        seen = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), seen)
        return plain_branch(branch, params, options), seen

    y, seen = _where_it_runs(kernel, interpret, fast, plain, branch, params)
    kept = y if options.relu else None
    # Of the identity its presence and dtype alone are needed again.
    identity = None if branch.identity is None else jnp.zeros((), branch.identity.dtype)
    return y, (branch._replace(identity=identity), params, kept, seen)


def _backward(kernel, options, interpret, kept, dy):
    branch, params, y, seen = kept
    has_identity = branch.identity is not None
    branch = branch._replace(identity=None)

    def fast(branch, params, y, seen, dy):
        return kernel.backward(branch, params, options, y, seen, dy, interpret)

    def plain(branch, params, y, seen, dy):
        through = dy if y is None else jnp.where(y > 0, dy, 0)
        straight = options._replace(relu=False)
        _, pull = jax.vjp(lambda b, p: plain_branch(b, p, straight), branch, params)
        pulled, to_params = pull(through)
        return Cotangents(pulled.features, pulled.affine, to_params)

    arguments = branch, params, y, seen, dy
    pulled = _where_it_runs(kernel, interpret, fast, plain, *arguments)
    through = dy if y is None else jnp.where(y > 0, dy, 0)
    to_branch = Branch(
        pulled.features, pulled.affine, through if has_identity else None
    )
    return to_branch, pulled.params


by_kernel.defvjp(_forward, _backward)


def _where_it_runs(kernel, interpret, fast, plain, *arguments):
    if interpret:
        return fast(*arguments)
    return lax.platform_dependent(*arguments, default=plain, **{kernel.platform: fast})


def on_each_device(run, branch: Branch, params: PRMParams) -> jax.Array:
    """`run(branch, params)`, on each device for its images if a mesh shares them."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or set(mesh.axis_types) == {AxisType.Manual}:
        return run(branch, params)
    explicit = bool(mesh.explicit_axes)
    axes = split_axes(branch.features)[0] if explicit else mesh.axis_names
    images: Any = PartitionSpec(axes)
    everywhere: Any = PartitionSpec()
    affine = branch.affine
    if affine is not None:
        of_runs = images if affine.mean.shape[0] > 1 else everywhere
        affine = Affine(of_runs, of_runs, everywhere)
    identity = None if branch.identity is None else images
    specs = Branch(images, affine, identity), everywhere
    arrays = branch, params
    if explicit:  # a type that says otherwise would be an error
        of_each = jax.tree.broadcast(specs, arrays)
        arrays = jax.tree.map(jax.sharding.reshard, arrays, of_each)
    return jax.shard_map(
        run,
        in_specs=specs,
        out_specs=images,
        check_vma=False,  # a kernel does not say what it varies over
    )(*arrays)
