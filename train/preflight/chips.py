"""The chips that `preflight` compiles for, and how a number of them is asked for."""

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from prm_flax.errors import unknown

GIB = 1 << 30


@dataclass(frozen=True)
class Chip:
    """One chip's published rates: what no program can beat.

    Attributes:
        kind: whose compiler it takes.
        axes: of a topology such as v5e:16x16, two; of h100:8, one.
        memory: bytes.
        bf16: operations a second on bfloat16 and float16, multiplications and
            additions counted apart.
        f32: the same on float32 at jax's default precision.
        bandwidth: bytes a second between the memory and the chip.
        link: bytes a second that leave the chip for others, over all its links.
        target: of kind cuda, XLA's description of the card (GpuTargetConfigProto).
        mode: of kind tpu, its chip_config_name where two cores must be one device.
    """

    kind: Literal["tpu", "cuda"]
    axes: int
    memory: int
    bf16: float
    f32: float
    bandwidth: float
    link: float
    target: str = ""
    mode: str = ""


def _tpu(
    axes: int, gib: int, tflops: float, gb_s: float, gbit_s: float, mode=""
) -> Chip:
    """float32 is multiplied as bfloat16 unless a precision is asked for."""
    rate, link = tflops * 1e12, gbit_s * 1e9 / 8
    return Chip("tpu", axes, gib * GIB, rate, rate, gb_s * 1e9, link, mode=mode)


_TARGET = """gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: {optin}
  shared_memory_per_core: {shared} core_count: {cores} fpus_per_core: {fpus}
  l2_cache_size: {l2} clock_rate_ghz: {clock} memory_bandwidth: {bandwidth}
  device_memory_size: {memory} cuda_compute_capability {{ major: {major} }}
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }}
device_description_str: "{name}"
"""


def _cuda(memory: int, bf16: float, tf32: float, nvlink: float, **target) -> Chip:
    """float32 is multiplied as TensorFloat-32, which is XLA's default there."""
    text = _TARGET.format(memory=memory, **target)
    bandwidth = float(target["bandwidth"])
    return Chip("cuda", 1, memory, bf16, tf32, bandwidth, nvlink, text)


# TPUs: the tables "Key chip specifications" of cloud.google.com/tpu/docs/{v4,v5e,v5p,
# v6e}: memory, bfloat16 TFLOP/s, GB/s of the memory, Gbit/s of the interconnect (one
# direction, all links; newer editions print twice as much, both directions).
# GPUs: NVIDIA's data sheets "H100 Tensor Core GPU" (SXM) and "A100 80GB" (SXM), without
# sparsity; NVLink one direction, 900 and 600 GB/s are both. Their targets: the white
# papers "NVIDIA H100 / A100 Tensor Core GPU Architecture" and the tables of compute
# capabilities 9.0 and 8.0 in the CUDA C++ Programming Guide; device_memory_size is
# what the driver leaves of 80 GB.
CHIPS: MappingProxyType[str, Chip] = MappingProxyType(
    {
        "v4": _tpu(3, 32, 275, 1228, 2400, "megacore"),
        "v5e": _tpu(2, 16, 197, 819, 1600),
        "v5p": _tpu(3, 95, 459, 2765, 4800),
        "v6e": _tpu(2, 32, 918, 1640, 3584),
        "h100": _cuda(
            84978434048, 989.4e12, 494.7e12, 450e9, name="NVIDIA H100 80GB HBM3",
            major=9, cores=132, fpus=128, clock=1.98, l2=50 << 20, shared=228 << 10,
            optin=227 << 10, bandwidth=3352320000000,
        ),
        "a100": _cuda(
            85100068864, 312e12, 156e12, 300e9, name="NVIDIA A100-SXM4-80GB",
            major=8, cores=108, fpus=64, clock=1.41, l2=40 << 20, shared=164 << 10,
            optin=163 << 10, bandwidth=2039040000000,
        ),
    }
)  # fmt: skip

# Axes -> topologies of 8 … 256 chips, each twice the one before.
SCALING: MappingProxyType[int, tuple[str, ...]] = MappingProxyType(
    {
        1: ("8", "16", "32", "64", "128", "256"),
        2: ("2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
        3: ("2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8"),
    }
)


@dataclass(frozen=True)
class Topology:
    """Chips of one kind, linked to each other.

    Attributes:
        name: of the kind, such as v5e.
        shape: chips along each axis.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def chip(self) -> Chip:
        """Its kind's description."""
        return CHIPS[self.name]

    @property
    def devices(self) -> int:
        """How many chips."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.name}:{'x'.join(map(str, self.shape))}"


def parse_topology(text: str) -> Topology:
    """Reads NAME:SHAPE, such as v5e:16x16, v5p:4x4x8 or h100:8.

    Raises:
        ValueError: the chip has no description, or its topologies have another number
            of axes.
    """
    name, _, shape = text.partition(":")
    if name not in CHIPS:
        raise unknown("chip", name, CHIPS)
    sizes = shape.split("x")
    axes = CHIPS[name].axes
    if len(sizes) != axes or not all(s.isdecimal() and int(s) for s in sizes):
        raise ValueError(
            f"a topology of {name} is {name}: and {axes} numbers with x between them, "
            f"such as {name}:{SCALING[axes][0]}; got {text!r}."
        )
    return Topology(name, tuple(int(s) for s in sizes))
