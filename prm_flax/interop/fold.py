"""Batch norm folded into the convolutions before it, for inference."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from prm_flax.interop.consumers import consumers
from prm_flax.interop.shapes import LeafPath, flatten, unflatten
from prm_flax.layers.device import portable
from prm_flax.layers.norm import BatchNorm


class Folded:
    """A network whose convolutions do the work of the batch norms after them.

    A norm that takes the output of a convolution W without bias is, in inference::

        scale · (W x - mean) / √(var + ε) + bias = (k W) x + (bias - k mean),
        k = scale / √(var + ε), of each output channel

    so the kernel becomes k W, and of the norm an addition is left. A norm after
    anything else stays as it is. The fold is exact up to rounding where the network
    computes in float32; in bfloat16 and float16 k W is rounded instead of W.

    Args:
        model: a network whose convolutions feed these norms alone, as all of the
            registry's do.
        variables: its parameters and batch statistics.
        image_shape: (h, w, c) of an image it takes.

    Attributes:
        model: as given; it is called by this class only.
        variables: folded: k W for the kernels, of folded norms the bias alone.
        norms: paths of the folded norms -> those of their convolutions.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import create_model
        >>> from prm_flax.interop.fold import Folded
        >>> model = create_model("resnet14", num_classes=10, stem="3x3")
        >>> x = jnp.ones((2, 8, 8, 3))
        >>> variables = model.init(jax.random.key(0), x)
        >>> folded = Folded(model, variables, (8, 8, 3))
        >>> bool(jnp.allclose(folded(x), model.apply(variables, x), atol=1e-5))
        True

    Reference: Jacob et al., CVPR 2018, section 3.2.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        image_shape: tuple[int, int, int],
    ):
        self.model = model
        norms = _norms_after_convolutions(model, variables, image_shape)
        self.norms = {path: convolution for path, (convolution, _) in norms.items()}
        self.variables = _folded(variables, norms)

    def __call__(self, x: jax.Array) -> Any:
        """Images (b, h, w, c) -> what the network makes of them in inference."""

        def add_bias(call, args, kwargs, context):
            norm = context.module
            if context.method_name != "__call__" or norm.path not in self.norms:
                return call(*args, **kwargs)
            y, dtype = args[0], norm.dtype
            bias = norm.get_variable("params", "bias")
            dtype = dtype or jnp.promote_types(y.dtype, norm.param_dtype)
            core = jnp.promote_types(y.dtype, jnp.float32)
            return (y.astype(core) + bias).astype(dtype)

        with portable(), nn.intercept_methods(add_bias):
            return self.model.apply(self.variables, x, train=False)


def _norms_after_convolutions(
    model: nn.Module, variables: Any, image_shape: tuple[int, int, int]
) -> dict[LeafPath, tuple[LeafPath, float]]:
    """Path of a norm -> path of the convolution whose output it takes, and ε."""

    def gives(module):
        return isinstance(module, nn.Conv) and not module.use_bias

    found = consumers(model, variables, image_shape, gives, BatchNorm)
    return {norm.path: (source, norm.epsilon) for source, norm in found}


def _folded(
    variables: Any, norms: dict[LeafPath, tuple[LeafPath, float]]
) -> dict[str, Any]:
    leaves = flatten(variables)
    for norm, (convolution, epsilon) in norms.items():
        params, stats = ("params", *norm), ("batch_stats", *norm)
        scale, bias = leaves.pop((*params, "scale")), leaves[*params, "bias"]
        mean, var = leaves.pop((*stats, "mean")), leaves.pop((*stats, "var"))
        factor = scale * lax.rsqrt(var + epsilon)
        kernel = ("params", *convolution, "kernel")
        leaves[kernel] = (leaves[kernel] * factor).astype(leaves[kernel].dtype)
        leaves[*params, "bias"] = (bias - factor * mean).astype(bias.dtype)
    return unflatten(leaves)
