"""Low precision loses the rounding of the result, and nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import attention_cases as cases
from support.attention_cases import MODULES, features
from support.checks import assert_finite

IMAGES = {
    "usual": features(),
    "constant 3.7": np.full((2, 4, 5, 8), 3.7),
    "zeros": np.zeros((2, 4, 5, 8)),
    "1×1": features(0, 2, 1, 1),
    # Sums over positions and channels leave float16, whose largest number is 65504.
    "large": 1000 * features(),
    "tiny": 1e-12 * features(),
}
# Half a unit in the last place of the result.
ROUNDING = {"float32": 2**-20, "bfloat16": 2**-8, "float16": 2**-11}


@functools.cache
def program(module):
    """y, new statistics, gradients of sum(y²)."""

    @jax.jit
    def run(params, rest, x):
        def loss(params, x):
            tree = {"params": params, **rest}
            y, new = module.apply(tree, x, train=True, mutable=["batch_stats"])
            return jnp.square(y.astype("float32")).sum(), (y, new)

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    return run


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", MODULES)
def test_finite(name, dtype, case):
    module = MODULES[name]
    tree = cases.variables(module, dtype="float32")
    params, rest = tree.pop("params", {}), tree
    x = jnp.asarray(IMAGES[case], dtype)
    (gradients, _), (y, new) = program(module)(params, rest, x)
    assert_finite((gradients, y, new))


# SK's convolutions are in the input's dtype, as any network's.
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", [name for name in MODULES if name != "sk"])
def test_the_result_is_rounded_once(name, dtype, x64):
    """A map of 64×64 on a mean of 20, where sums of low precision would drift."""
    module, x = MODULES[name], jnp.asarray(20 + features(0, 1, 64, 64), dtype)
    exact = run(module, x.astype("float64"), "float64")
    y = run(module, x, "float32")
    assert y.dtype == dtype
    np.testing.assert_allclose(y.astype("float64"), exact, rtol=ROUNDING[dtype])


def run(module, x, param_dtype):
    return jax.jit(module.apply)(cases.variables(module, dtype=param_dtype), x)
