"""PRM as a Flax Linen module."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from prm_flax.prm import fast
from prm_flax.prm.checks import check_kernel, check_options, check_shape
from prm_flax.prm.functional import INITIALIZERS, PRMParams, recalibrate, shapes
from prm_flax.prm.kernels.options import Branch, Options


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
        kernel: "auto" takes the form that is fastest on the device at hand, which on a
            GPU or TPU has a reverse derivative alone; "xla" the definition.

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
    kernel: str = "auto"

    def setup(self):
        """Declares the parameters, whose shapes x has no part in."""
        check_options(self.groups, self.similarity, self.ddof)
        check_kernel(self.kernel)
        self.leaves = PRMParams(
            **{
                name: self.param(name, INITIALIZERS[name], shape, self.param_dtype)
                for name, shape in shapes(self.groups).items()
            }
        )

    def __call__(self, x, train: bool = False, extent=None):
        """Recalibrates x (..., h, w, C), see `recalibrate`; `train` changes nothing."""
        check_shape(x.shape, x.dtype, self.groups)
        x = x if self.dtype is None else x.astype(self.dtype)
        keywords = self._options().keywords() | dict[str, Any](extent=extent)
        if not self._is_watched():
            if extent is None:
                return self.finish(self.choose(x), Branch(x))
            return fast.form(self.kernel, x)(x, self.leaves, **keywords)
        y, maps = recalibrate(x, self.leaves, **keywords, return_maps=True)
        self.sow("intermediates", "maps", maps)
        return y

    def choose(self, x, runs: int = 1) -> fast.Kernel | None:
        """The kernel for features like x, see `fast.choose`; None if one may watch."""
        if self.kernel == "xla" or self._is_watched() or self.is_initializing():
            return None
        return fast.choose(x, self.groups, runs)

    def finish(self, kernel: fast.Kernel | None, branch: Branch, relu: bool = False):
        """The end of a residual branch: relu(PRM(norm(x)) + identity)."""
        options = self._options()._replace(relu=relu)
        separate = fast.form(self.kernel, branch.features)
        return fast.recalibrate_branch(kernel, branch, self.leaves, options, separate)

    def _is_watched(self) -> bool:
        return self.is_mutable_collection("intermediates")

    def _options(self) -> Options:
        return Options(self.similarity, self.ddof, self.position, self.normalize)
