"""What PRM demands of its input, said before anything is computed."""

import jax.numpy as jnp

from prm_flax.errors import unknown
from prm_flax.prm.similarity import SIMILARITIES

# The fastest form for where it runs, or XLA's alone.
KERNELS = ("auto", "xla")


def check_options(groups: int, similarity: str, ddof: int) -> None:
    """Raises ValueError for a group count, similarity or ddof that does not exist."""
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
        raise ValueError(f"groups must be a positive integer, got {groups!r}.")
    if similarity not in SIMILARITIES:
        raise unknown("similarity", similarity, SIMILARITIES)
    if ddof not in (0, 1):
        raise ValueError(
            "ddof must be 0 (the paper's 1/N) or 1 (the official code's 1/(N-1)), "
            f"got {ddof!r}."
        )


def check_kernel(kernel: str) -> None:
    """Raises ValueError for a choice of kernels that does not exist."""
    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)


def check_shape(shape: tuple[int, ...], dtype, groups: int) -> None:
    """Raises if features of this shape and dtype cannot be split in `groups`."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"x must be floating, got {dtype}; cast it first.")
    if len(shape) < 3:
        raise ValueError(
            f"x must have axes (..., height, width, channels), got shape {shape}."
        )
    if 0 in shape[-3:]:
        raise ValueError(f"height, width and channels must be positive, got {shape}.")
    if shape[-1] % groups:
        raise ValueError(
            f"groups must divide the channels: {shape[-1]} channels, {groups} groups. "
            f"Images here are channels-last; backbones use min(groups, channels)."
        )


def check_input(x, params, groups: int | None, similarity: str, ddof: int) -> None:
    """Raises if x, the parameters and the options do not fit each other."""
    g = params.alpha.shape[0] if params.alpha.ndim == 1 else 0
    want = {name: (g,) for name in ("alpha", "beta", "lam", "xi")}
    want |= {"theta": (2,), "d": ()}
    got = {name: leaf.shape for name, leaf in params._asdict().items()}
    if g < 1 or want != got:
        raise ValueError(
            "PRMParams must be alpha, beta, lam, xi of shape (g,) with g ≥ 1, theta "
            f"(2,) and d (), got {got}."
        )
    if groups is not None and groups != g:
        raise ValueError(f"groups={groups}, but the parameters are of {g} groups.")
    check_options(g, similarity, ddof)
    check_shape(x.shape, x.dtype, g)


def check_extent(x, extent) -> None:
    """Raises if an extent is not two integers for each map of x, or None."""
    if extent is None:
        return
    want = (*x.shape[:-3], 2)
    if extent.shape != want or not jnp.issubdtype(extent.dtype, jnp.integer):
        raise ValueError(
            f"extent must be the rows and columns of each map, integers {want}; got "
            f"{extent.dtype} {extent.shape} for x {x.shape}."
        )
