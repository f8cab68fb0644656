"""The layers networks are made of, each a module so that it can be counted."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from prm_flax.layers.convolution import convolve
from prm_flax.layers.extent import counted, cut, inside
from prm_flax.layers.norm import BatchNorm, Statistics
from prm_flax.layers.precision import wide

# He et al. 2015: normal with variance 2 / fan-out, as the official programs draw.
kaiming_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def uniform(bound: float):
    """U(-bound, bound), PyTorch's start of a dense layer with bound = 1/√fan-in."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def relu(x: jax.Array) -> jax.Array:
    """max(x, 0) with derivative 0 at 0; NaN stays.

    `jax.nn.relu` is the same but a `jax.custom_jvp`, which `jax.experimental.jet`
    cannot take (its own rule of a clamp says ½ at 0). A `jnp.where` it takes, too, but
    of that XLA keeps the mask for the backward pass: 1.5 % more traffic in the step of
    a ResNet of bottlenecks on an H100.
    """
    return lax.clamp(jnp.zeros_like(x), x, jnp.full_like(x, jnp.inf))


class ReLU(nn.Module):
    """max(x, 0), or min(max(x, 0), limit)."""

    limit: float | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Elementwise, any shape."""
        if self.limit is None:
            return relu(x)
        # Derivative 0 at the limit too, as PyTorch's; jnp.minimum would give ½.
        return jnp.where(x < self.limit, relu(x), jnp.asarray(self.limit, x.dtype))


class MaxPool(nn.Module):
    """3×3 max pooling, stride 2, padding 1."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, h, w, c) -> (b, ⌈h/2⌉, ⌈w/2⌉, c)."""
        padding: Any = ((1, 1), (1, 1))  # flax's annotation knows the names only
        return nn.max_pool(x, (3, 3), (2, 2), padding)


def global_mean(x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
    """(b, h, w, c) -> (b, c): the mean over all positions, summed in float32.

    With an extent (b, 2), over those inside.
    """
    core = wide(x.dtype)
    if extent is None:
        return x.mean((1, 2), dtype=core).astype(x.dtype)
    count = counted(inside(extent, *x.shape[1:3]), (1, 2), core)[:, 0, 0]
    return (cut(x, extent).sum((1, 2), dtype=core) / count).astype(x.dtype)


def global_max(x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
    """(b, h, w, c) -> (b, c): the maximum over all positions, or those inside."""
    if extent is None:
        return x.max((1, 2))
    within = inside(extent, *x.shape[1:3])
    largest = jnp.where(within, x, -jnp.inf).max((1, 2))
    return jnp.where(within.any((1, 2)), largest, 0)


class GlobalAveragePool(nn.Module):
    """`global_mean` as a layer, which the paper's counter counts."""

    def __call__(self, x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
        """(b, h, w, c) -> (b, c)."""
        return global_mean(x, extent)


class GlobalMaxPool(nn.Module):
    """`global_max` as a layer."""

    def __call__(self, x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
        """(b, h, w, c) -> (b, c)."""
        return global_max(x, extent)


class Dropout(nn.Module):
    """Zeros at a rate, the rest divided by 1 - rate; the numbers of Flax's own.

    Flax's mask is whole on every device of a mesh of explicit axes, where x may be
    split, which is a type error.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Elementwise, any shape; in training alone."""
        if not train or self.rate == 0:
            return x
        if self.rate == 1:  # 0/0 below
            return jnp.zeros_like(x)
        keep, key = 1 - self.rate, self.make_rng("dropout")
        split = jax.typeof(x).sharding
        split = split if split.mesh.explicit_axes else None
        mask = jax.random.bernoulli(key, keep, x.shape, out_sharding=split)
        return jnp.where(mask, x / keep, jnp.zeros((), x.dtype))


@dataclasses.dataclass(frozen=True)
class Layers:
    """Builds the layers of one network, which share dtypes and batch-norm settings.

    Attributes:
        dtype: of the computation, None for the input's and parameters' common one.
        param_dtype: of the parameters.
        batch_norm: images of a batch-norm statistic, or "global".
        bn_momentum: of the running statistics.
        bn_epsilon: of the batch norm.
    """

    dtype: Any
    param_dtype: Any
    batch_norm: Statistics
    bn_momentum: float
    bn_epsilon: float

    @property
    def _types(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    def conv(self, features: int, kernel: int, name: str, stride=1, groups=1):
        """A convolution k×k without bias, padding (k-1)/2."""
        pad = (kernel - 1) // 2
        return nn.Conv(
            features,
            (kernel, kernel),
            (stride, stride),
            padding=((pad, pad), (pad, pad)),
            feature_group_count=groups,
            use_bias=False,
            kernel_init=kaiming_normal,
            conv_general_dilated=convolve,
            name=name,
            **self._types,
        )

    def norm(self, name: str, *, zero: bool = False) -> BatchNorm:
        """A batch norm; `zero` starts its scale at 0."""
        init = nn.initializers.zeros if zero else nn.initializers.ones
        return BatchNorm(
            self.batch_norm,
            self.bn_momentum,
            self.bn_epsilon,
            scale_init=init,
            name=name,
            **self._types,
        )

    def dense(self, features: int, name: str, kernel_init, bias_init) -> nn.Dense:
        """A dense layer with bias."""
        return nn.Dense(
            features,
            kernel_init=kernel_init,
            bias_init=bias_init,
            name=name,
            **self._types,
        )
