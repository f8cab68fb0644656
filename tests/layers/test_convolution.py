"""A convolution is one, in whatever form it runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from prm_flax.layers import convolution as room
from prm_flax.layers.basic import Layers
from prm_flax.layers.convolution import block_diagonal, convolve
from prm_flax.layers.device import Device, device, portable

DIMENSIONS = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
# kernel, inputs, outputs, groups: 1×1, depthwise of two sizes, in groups, dense.
KINDS = [
    (1, 6, 4, 1),
    (3, 6, 6, 6),
    (5, 4, 4, 4),
    (3, 8, 12, 2),
    (1, 8, 4, 4),
    (3, 6, 4, 1),
]


def conv(x, kernel, stride, groups=1):
    pad = (kernel.shape[0] - 1) // 2
    options = {
        "dimension_numbers": DIMENSIONS,
        "precision": None,
        "feature_group_count": groups,
    }
    return convolve(x, kernel, (stride, stride), ((pad, pad), (pad, pad)), **options)


def arrays(kind, size, dtype=jnp.float32):
    k, inputs, outputs, groups = kind
    g = np.random.default_rng(0)
    x = jnp.asarray(g.normal(size=(2, *size, inputs)), dtype)
    return x, jnp.asarray(g.normal(size=(k, k, inputs // groups, outputs)), dtype)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (2, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cpu_s_form_is_the_convolution_and_has_its_derivatives(kind, size, stride):
    x, kernel = arrays(kind, size)

    def forward_and_back(x, kernel):
        y, pull = jax.vjp(lambda x, k: conv(x, k, stride, kind[3]), x, kernel)
        return y, pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    with portable():
        want = forward_and_back(x, kernel)
    found = forward_and_back(x, kernel)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, want
    )


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_summed_in_float32(kind):
    x, kernel = arrays(kind, (6, 6), jnp.bfloat16)
    y = conv(x, kernel, 1, kind[3])
    wide = conv(x.astype(jnp.float32), kernel.astype(jnp.float32), 1, kind[3])
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), wide, rtol=0.01, atol=0.01)


def test_a_block_of_the_dense_kernel_is_a_group_s_kernel():
    kernel = jnp.arange(1.0, 13.0).reshape(1, 1, 2, 6)
    dense = block_diagonal(kernel, 3)[0, 0]
    want = np.zeros((6, 6))
    for group in range(3):
        of = slice(2 * group, 2 * group + 2)
        want[of, of] = kernel[0, 0, :, of]
    np.testing.assert_array_equal(dense, want)


@pytest.mark.parametrize(
    ("axes", "spec"),
    [
        (AxisType.Explicit, PartitionSpec("d")),
        (AxisType.Explicit, PartitionSpec(None, "d")),
        (AxisType.Auto, PartitionSpec("d")),
    ],
    ids=["explicit, images", "explicit, rows", "auto, images"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_axis_of_a_mesh_does_not_multiply_the_kernel_s_gradient(
    kind, axes, spec
):
    """As XLA makes it of `lax.conv_general_dilated` alone; as on a GPU, not a CPU."""
    x, kernel = arrays(kind, (4, 4))

    def gradient(x, kernel):
        loss = jax.jit(lambda k: jnp.square(conv(x, k, 1, kind[3])).sum())
        return jax.grad(loss)(kernel)

    mesh = jax.make_mesh((2, 2), ("d", "e"), (axes,) * 2)
    with portable():
        want = jax.jit(gradient)(x, kernel)
        with jax.set_mesh(mesh):
            placed = jax.device_put(x, NamedSharding(mesh, spec))
            whole = jax.device_put(kernel, NamedSharding(mesh, PartitionSpec()))
            got = jax.jit(gradient)(placed, whole)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def primitives(platform, monkeypatch, features, kernel, groups):
    monkeypatch.setattr(room, "device", lambda: Device(platform, ""))
    layers = Layers(None, jnp.float32, "global", 0.9, 1e-5)
    layer = layers.conv(features, kernel, "conv", groups=groups)
    x = jnp.ones((1, 4, 4, 8))
    return str(jax.make_jaxpr(lambda x: layer.init(jax.random.key(0), x))(x))


def test_on_a_gpu_every_convolution_is_the_compiler_s(monkeypatch):
    for options in ((4, 1, 1), (8, 3, 8), (8, 3, 2), (8, 3, 1)):
        program = primitives("gpu", monkeypatch, *options)
        assert "conv_general_dilated" in program and "dot_general" not in program
        groups = f"feature_group_count={options[-1]}"
        assert groups in program


def test_on_a_cpu_none_is_in_groups(monkeypatch):
    assert "dot_general" in primitives("cpu", monkeypatch, 4, 1, 1)
    assert "conv_general_dilated" not in primitives("cpu", monkeypatch, 8, 3, 8)
    assert "feature_group_count=1" in primitives("cpu", monkeypatch, 8, 3, 2)


def test_a_portable_program_is_made_for_no_device():
    assert device().platform == "cpu"
    with portable():
        assert device() == Device("", "")
