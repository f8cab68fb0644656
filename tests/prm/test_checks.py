"""Every error of PRM says what came, what is allowed, and the nearest right name."""

import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from prm_flax import PRM, PRMParams, recalibrate
from prm_flax import nnx as prm_nnx


def params(g=2):
    each = jnp.ones(g)
    return PRMParams(each, each, each, each, jnp.ones(2), jnp.ones(()))


def functional(x, groups=2, **options):
    return recalibrate(x, params(groups), **options)


def linen(x, groups=2, **options):
    return PRM(groups, **options).init_with_output(jax.random.key(0), x)


def from_nnx(x, groups=2, **options):
    return prm_nnx.PRM(groups, **options, rngs=nnx.Rngs(0))(x)


FORMS = [functional, linen, from_nnx]
X = jnp.ones((1, 2, 2, 4))

OPTION_ERRORS = {
    "Unknown similarity 'dott'. Did you mean 'dot'? Known: dot, l1, cosine": {
        "similarity": "dott"
    },
    "Unknown similarity 'L1'. Did you mean 'l1'?": {"similarity": "L1"},
    "Unknown similarity 'euclid'. Known: dot, l1, cosine": {"similarity": "euclid"},
    "ddof must be 0 (the paper's 1/N) or 1 (the official code's 1/(N-1)), got 2": {
        "ddof": 2
    },
}
SHAPE_ERRORS = {
    "(..., height, width, channels), got shape (2, 4)": (2, 4),
    "must be positive, got (1, 0, 2, 4)": (1, 0, 2, 4),
    "groups must divide the channels: 5 channels, 2 groups": (1, 2, 2, 5),
}
PARAMS_ERRORS = {
    "'xi': (3,)": params()._replace(xi=jnp.ones(3)),
    "'alpha': ()": params()._replace(alpha=jnp.ones(())),
    "'theta': (3,)": params()._replace(theta=jnp.ones(3)),
    "'d': (1,)": params()._replace(d=jnp.ones(1)),
    "'alpha': (0,)": params(0),
}


def raises(error, message):
    return pytest.raises(error, match=re.escape(message))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("message", OPTION_ERRORS)
def test_options(form, message):
    with raises(ValueError, message):
        form(X, **OPTION_ERRORS[message])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("message", SHAPE_ERRORS)
def test_shapes(form, message):
    with raises(ValueError, message):
        form(jnp.ones(SHAPE_ERRORS[message]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_])
def test_integers(form, dtype):
    with raises(TypeError, f"x must be floating, got {jnp.dtype(dtype)}; cast"):
        form(X.astype(dtype))


@pytest.mark.parametrize("form", [linen, from_nnx])
@pytest.mark.parametrize("groups", [0, -1, 2.0, True, "64"])
def test_groups(form, groups):
    with raises(ValueError, f"groups must be a positive integer, got {groups!r}"):
        form(X, groups=groups)


@pytest.mark.parametrize("message", PARAMS_ERRORS)
def test_parameters(message):
    with raises(ValueError, message) as error:
        recalibrate(X, PARAMS_ERRORS[message])
    assert "of shape (g,) with g ≥ 1, theta (2,) and d ()" in str(error.value)


def test_groups_against_the_parameters():
    assert recalibrate(X, params(2), groups=2).shape == X.shape
    with raises(ValueError, "groups=4, but the parameters are of 2 groups"):
        recalibrate(X, params(2), groups=4)
