"""PRM as a Flax Linen module."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from prm_flax.prm.checks import check_options, check_shape
from prm_flax.prm.functional import PRMParams, recalibrate
from prm_flax.prm.initial import INITIALIZERS, shapes


class PRM(nn.Module):
    """Position-Aware Recalibration Module, see `recalibrate` for the mathematics.

    At the start y = x·sigmoid(1): λ = 0, so the gate is constant.

    Attributes:
        groups: g, the number of heads; must divide the channels.
        similarity: "dot", "l1" or "cosine".
        ddof: 0, the paper's σ, or 1, the official code's.
        position: False leaves the position encoding out.
        normalize: False leaves the normalisation of the scores out.
        dtype: if given, x is cast to it and the result has it; else x's.
        param_dtype: the parameters' dtype.

    Sows the `PRMMaps` as "maps" when the collection "intermediates" is mutable, and
    computes them only then.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from prm_flax import PRM
        >>> x = jnp.ones((2, 8, 8, 16))
        >>> prm = PRM(groups=4)
        >>> variables = prm.init(jax.random.key(0), x)
        >>> prm.apply(variables, x).shape
        (2, 8, 8, 16)
        >>> y, state = prm.apply(variables, x, mutable=["intermediates"])
        >>> state["intermediates"]["maps"][0].gate.shape
        (2, 8, 8, 4)

    Reference: Ma & Fu, IJCAI 2020; github.com/13952522076/PRM.
    """

    groups: int = 64
    _: dataclasses.KW_ONLY
    similarity: str = "dot"
    ddof: int = 0
    position: bool = True
    normalize: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool = False):
        """Recalibrates x (..., h, w, C); `train` changes nothing here."""
        check_options(self.groups, self.similarity, self.ddof)
        check_shape(x.shape, x.dtype, self.groups)
        params = PRMParams(
            **{
                name: self.param(name, INITIALIZERS[name], shape, self.param_dtype)
                for name, shape in shapes(self.groups).items()
            }
        )
        x = x if self.dtype is None else x.astype(self.dtype)
        watched = self.is_mutable_collection("intermediates")
        result = recalibrate(
            x,
            params,
            similarity=self.similarity,
            ddof=self.ddof,
            position=self.position,
            normalize=self.normalize,
            return_maps=watched,
        )
        if not watched:
            return result
        y, maps = result
        self.sow("intermediates", "maps", maps)
        return y
