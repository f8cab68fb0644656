"""The precision in which sums are taken: of norms, convolutions, means and modules."""

from typing import Any

import jax.numpy as jnp


def wide(dtype: Any) -> Any:
    """float64 for float64, float32 for all else that floats.

    Not `jnp.promote_types`, which strict dtype promotion forbids for narrow types.

    Example:
        >>> wide(jnp.bfloat16).__name__
        'float32'
    """
    return jnp.float64 if jnp.dtype(dtype) == jnp.float64 else jnp.float32
