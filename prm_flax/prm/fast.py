"""Which form of PRM runs where: the one place that decides."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from prm_flax.errors import unknown
from prm_flax.prm.functional import PRMParams, recalibrate
from prm_flax.prm.kernels import gpu, tpu
from prm_flax.prm.kernels.options import Options

KERNELS = ("auto", "xla")
# TPUs whose memory next to the registers holds the kernel's blocks.
TPUS = ("TPU v5", "TPU v6")


def check_kernel(kernel: str) -> None:
    """Raises ValueError unless there is such a choice."""
    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)


def recalibrate_fast(
    x: jax.Array, params: PRMParams, options: Options, kernel: str = "auto"
) -> jax.Array:
    """`recalibrate`, by the form that moves the least memory where it runs.

    On GPUs and TPUs a kernel reads x once and writes y once, if x is of float32 or half
    precision, fits and lies on one device, or its first axis is shared among the devices
    of the mesh that `jax.set_mesh` has set. Everywhere else, and with `kernel="xla"`, it
    is `recalibrate` itself. A kernel has a reverse derivative, not a forward one.

    Args:
        x: (..., h, w, C).
        params: of g groups.
        options: the other keywords of `recalibrate`.
        kernel: "auto", or "xla" for no kernel.
    """
    plain = functools.partial(recalibrate, **options._asdict())
    kernels = _kernels(x, params, options) if kernel == "auto" else {}
    if not kernels:
        return plain(x, params)

    def run(x, params):
        return lax.platform_dependent(x, params, default=plain, **kernels)

    lead = x.shape[:-3]
    flat = x.reshape(math.prod(lead), *x.shape[-3:])
    return _on_each_device(run, flat, params).reshape(x.shape)


def _kernels(x, params, options) -> dict[str, Callable]:
    """Platform -> kernel, of those that can take x on the devices there are."""
    if x.ndim < 4 or x.dtype == jnp.float64 or not _is_spread_by_batch(x):
        return {}
    groups = params.alpha.shape[0]
    kinds = {(device.platform, device.device_kind) for device in _devices()}
    found: dict[str, Callable] = {}
    fits = tpu.fits(x.shape, x.dtype.itemsize, groups)
    if fits and any(p == "tpu" and kind.startswith(TPUS) for p, kind in kinds):
        found["tpu"] = lambda x, p: tpu.recalibrate_on_tpu(x, p, options)
    if any(p in ("gpu", "cuda") for p, _ in kinds) and gpu.plan(x.shape, groups):
        found["cuda"] = lambda x, p: gpu.recalibrate_on_gpu(x, p, options)
    return found


def _devices() -> list:
    """Of the mesh that is set, which may be of chips that are not here, or of jax."""
    mesh = jax.sharding.get_mesh()
    return jax.devices()[:1] if mesh.empty else list(mesh.devices.flat)[:1]


def _is_spread_by_batch(x) -> bool:
    """Whether each device can take some of the images alone."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return jax.device_count() == 1
    kinds = set(mesh.axis_types)
    if kinds == {AxisType.Manual}:
        return True
    return kinds == {AxisType.Auto} and math.prod(x.shape[:-3]) % mesh.size == 0


def _on_each_device(run, x, params):
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or set(mesh.axis_types) == {AxisType.Manual}:
        return run(x, params)
    images = PartitionSpec(mesh.axis_names)
    return jax.shard_map(
        run,
        in_specs=(images, PartitionSpec()),
        out_specs=images,
        check_vma=False,  # a kernel does not say what it varies over
    )(x, params)
