"""Every error says the rule and what came."""

import re

import jax
import jax.numpy as jnp
import pytest
from support.attention_cases import MODULES

from prm_flax.attention import CBAM, GC, GE, SE, SGE, SK
from prm_flax.attention.common import check_positive

X = jnp.ones((1, 4, 4, 8))
# Message -> module.
SETTINGS = {
    "reduction must be a positive integer, got 0": SE(0),
    "reduction must be a positive integer, got -3": CBAM(-3),
    "reduction must be a positive integer, got -1": GC(-1),
    "reduction must be a positive integer, got True": SK(8, groups=8, reduction=True),
    "extent must be a positive integer, got -1": GE(-1),
    "groups must be a positive integer, got 0": SGE(0),
    "groups must divide the channels: 8 channels, 3 groups": SGE(3),
    "features must be a positive integer, got 0": SK(0),
    "stride must be a positive integer, got 0": SK(8, 0),
    "groups must divide the features: 8 features, 32 groups": SK(8),
    "groups must divide the channels: 8 channels, 16 groups": SK(16, groups=16),
}


def init(module, x):
    return jax.eval_shape(module.init, jax.random.key(0), x)


@pytest.mark.parametrize("message", SETTINGS)
def test_settings(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        init(SETTINGS[message], X)


@pytest.mark.parametrize("value", [2.0, "64", None, False])
def test_what_is_no_integer(value):
    with pytest.raises(ValueError, match=f"groups must be .* integer, got {value!r}"):
        check_positive(groups=value)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("shape", [(4, 8), (4, 4, 8), (1, 1, 4, 4, 8)])
def test_axes(name, shape):
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\), got"):
        init(MODULES[name], jnp.ones(shape))


@pytest.mark.parametrize("name", MODULES)
def test_empty_maps(name):
    with pytest.raises(ValueError, match="must be positive"):
        init(MODULES[name], jnp.ones((1, 0, 4, 8)))


@pytest.mark.parametrize("name", MODULES)
def test_integers(name):
    with pytest.raises(TypeError, match="x must be floating, got int32; cast it"):
        init(MODULES[name], jnp.ones((1, 4, 4, 8), jnp.int32))
