"""PRM as a Flax NNX module, with the same leaf names as the Linen one."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from prm_flax.prm import fast
from prm_flax.prm.checks import check_kernel, check_options, check_shape
from prm_flax.prm.functional import INITIALIZERS, PRMParams, recalibrate, shapes
from prm_flax.prm.kernels.options import Branch, Options


class PRM(nnx.Module):
    """Position-Aware Recalibration Module, see `recalibrate` for the mathematics.

    Args:
        groups: g, the number of heads; must divide the channels.
        similarity: "dot", "l1" or "cosine".
        ddof: 0, the paper's σ, or 1, the official code's.
        position: False leaves the position encoding out.
        normalize: False leaves the normalisation of the scores out.
        dtype: if given, x is cast to it and the result has it; else x's.
        param_dtype: the parameters' dtype.
        kernel: "auto" takes the form that is fastest on the device at hand, which on a
            GPU or TPU has a reverse derivative alone; "xla" the definition.
        rngs: θ is drawn from its stream "params".

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from prm_flax.nnx import PRM
        >>> prm = PRM(4, rngs=nnx.Rngs(0))
        >>> prm(jnp.ones((2, 8, 8, 16))).shape
        (2, 8, 8, 16)

    Reference: Ma & Fu, IJCAI 2020; github.com/13952522076/PRM.
    """

    def __init__(
        self,
        groups: int = 64,
        *,
        similarity: str = "dot",
        ddof: int = 0,
        position: bool = True,
        normalize: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        kernel: str = "auto",
        rngs: nnx.Rngs,
    ):
        check_options(groups, similarity, ddof)
        check_kernel(kernel)
        self.groups = groups
        self.similarity = similarity
        self.ddof = ddof
        self.position = position
        self.normalize = normalize
        self.dtype = dtype
        self.kernel = kernel
        for name, shape in shapes(groups).items():
            value = INITIALIZERS[name](rngs.params(), shape, param_dtype)
            setattr(self, name, nnx.Param(value))

    def __call__(
        self,
        x: jax.Array,
        train: bool = False,
        *,
        extent: jax.Array | None = None,
        return_maps: bool = False,
    ):
        """Recalibrates x (..., h, w, C), see `recalibrate`; `train` changes nothing.

        With `return_maps` the result is the pair (y, `PRMMaps`).
        """
        check_shape(x.shape, x.dtype, self.groups)
        params = PRMParams(
            *(getattr(self, name).get_value() for name in PRMParams._fields)
        )
        x = x if self.dtype is None else x.astype(self.dtype)
        options = Options(self.similarity, self.ddof, self.position, self.normalize)
        keywords = options.keywords() | dict[str, Any](extent=extent)
        if return_maps:
            return recalibrate(x, params, **keywords, return_maps=True)
        separate = fast.form(self.kernel, x)
        if extent is not None:
            return separate(x, params, **keywords)
        kernel = None if self.kernel == "xla" else fast.choose(x, self.groups)
        return fast.recalibrate_branch(kernel, Branch(x), params, options, separate)
