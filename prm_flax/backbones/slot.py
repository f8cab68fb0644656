"""The slot: where a recalibration module goes in a residual branch, and what fits."""

import dataclasses
import inspect
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from prm_flax.attention import SGE
from prm_flax.layers.basic import ReLU
from prm_flax.layers.extent import cut
from prm_flax.layers.norm import BatchNorm
from prm_flax.prm.kernels.options import Branch
from prm_flax.prm.linen import PRM


class Recalibration(Protocol):
    """A factory of recalibration modules, the type of the option `recalibration`.

    It is called once for every residual branch, with the branch's channels and its
    stage (from 1), and returns a Linen module that is then called as
    `module(x, train=train)` on the output (b, h, w, channels) of the branch's last
    norm and returns an array of the same shape. Where images are padded to one size, as
    in detectors, a module whose call has a keyword `extent` is also given that, (b, 2)
    int32: the rows and columns of each map that are its image's. Make it a module-level
    function or a frozen dataclass, so that it can be hashed.

    Example:
        >>> from prm_flax import PRM, create_model
        >>> def early_prm(channels, stage):
        ...     return PRM(8 if stage == 1 else 16)
        >>> model = create_model("resnet18", recalibration=early_prm)
    """

    def __call__(self, channels: int, stage: int) -> nn.Module:
        """Makes the module of one branch."""
        ...


@dataclasses.dataclass(frozen=True)
class PRMFactory:
    """Makes the `PRM` of each branch, with min(groups, channels) groups."""

    groups: int
    similarity: str = "dot"
    ddof: int = 0
    position: bool = True
    normalize: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel: str = "auto"

    def __call__(self, channels: int, stage: int) -> PRM:
        """The PRM for a branch of `channels` channels; every stage's is alike."""
        return PRM(
            min(self.groups, channels),
            similarity=self.similarity,
            ddof=self.ddof,
            position=self.position,
            normalize=self.normalize,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            kernel=self.kernel,
        )


@dataclasses.dataclass(frozen=True)
class SGEFactory:
    """Makes the `SGE` of each branch, with min(groups, channels) groups."""

    groups: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def __call__(self, channels: int, stage: int) -> SGE:
        """The SGE for a branch of `channels` channels; every stage's is alike."""
        return SGE(min(self.groups, channels), self.dtype, self.param_dtype)


@dataclasses.dataclass(frozen=True)
class SameModule:
    """Gives every branch a copy of one module, whatever its channels.

    Example:
        >>> from prm_flax import create_model
        >>> from prm_flax.attention import GE
        >>> from prm_flax.backbones.slot import SameModule
        >>> model = create_model("resnet50", recalibration=SameModule(GE(extent=4)))
    """

    module: nn.Module

    def __call__(self, channels: int, stage: int) -> nn.Module:
        """The module; it takes its sizes from what it is called on."""
        return self.module


def end_of_branch(
    block: Any,
    norm: BatchNorm,
    x: jax.Array,
    identity: jax.Array | None,
    relu: ReLU | None,
    train: bool,
    extent: jax.Array | None = None,
) -> jax.Array:
    """relu(module(norm(x)) + identity), with the module that fills the block's slot.

    Args:
        block: has a `recalibration` factory or None, the name of its `slot`, a `stage`.
        norm: the residual branch's last.
        x: (b, h, w, c) what the norm takes.
        identity: (b, h, w, c) or None for 0.
        relu: or None for none.
        train: for norm and module.
        extent: (b, 2) of x, outside of which the result is 0; None for all.
    """
    module = _module(block, x)
    kernel = None if extent is not None else _kernel(module, norm, x, train)
    if kernel is not None:
        affine = norm.affine(x, train)
        return module.finish(kernel, Branch(x, affine, identity), relu is not None)
    y = norm(x, train)
    y = y if module is None else _called(module, y, train, extent)
    y = y if identity is None else y + identity
    return cut(y if relu is None else relu(y), extent)


def _module(block, x) -> Any:
    if block.recalibration is None:
        return None
    module = block.recalibration(x.shape[-1], block.stage)
    if not isinstance(module, nn.Module):
        raise TypeError(
            "recalibration must return a Linen module for (channels, stage), got "
            f"{type(module).__name__}."
        )
    return module.clone(parent=block, name=block.slot)


def _kernel(module, norm: BatchNorm, x, train: bool):
    """A PRM's kernel that takes in norm, sum and ReLU; all in one dtype."""
    if not isinstance(module, PRM):
        return None
    if norm.gives(x.dtype) != x.dtype or module.dtype not in (None, x.dtype):
        return None
    return module.choose(x, norm.runs(x.shape[0], train))


def _called(module: Any, x: jax.Array, train: bool, extent: Any) -> jax.Array:
    takes = inspect.signature(type(module).__call__).parameters
    given = {} if extent is None or "extent" not in takes else {"extent": extent}
    y = module(x, train=train, **given)
    if y.shape != x.shape:
        raise ValueError(
            f"A recalibration module must keep the shape: {x.shape} became {y.shape}."
        )
    return y
