"""The laws that relate PRM's parameters and options to each other."""

import jax
import numpy as np
import pytest
from hypothesis import given
from support import prm_cases as cases
from support.prm_cases import laws, near, prm

pytestmark = pytest.mark.usefixtures("x64")
SHAPE = cases.USUAL


@laws
def test_without_scale_the_gate_is_constant(seed, options):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    gate = np.repeat(jax.nn.sigmoid(params.xi), SHAPE.width)
    y = prm(x, params._replace(lam=np.zeros(SHAPE.groups)), **options)
    near(y, x * gate)


def negative_width(p):
    return p._replace(d=-p.d, alpha=-p.alpha)


def negative_theta(p):
    return p._replace(theta=-p.theta)


def all_tripled(p):
    return p._replace(theta=3 * p.theta, d=3 * p.d, alpha=3 * p.alpha)


@pytest.mark.parametrize("other", [negative_width, negative_theta, all_tripled])
@given(cases.seeds, cases.options)
def test_the_same_function_of_other_parameters(other, seed, options):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    options |= {"position": True}
    near(prm(x, other(params), **options), prm(x, params, **options))


@given(cases.seeds, cases.options)
def test_the_scale_of_the_scores_is_normalised_away(seed, options):
    """1e6·S and 2e6·S differ after eq. 7 only by the 1e-5 beside σ."""
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    options |= {"normalize": True}
    once, twice = (
        params._replace(alpha=k * params.alpha, beta=k * params.beta)
        for k in (1e6, 2e6)
    )
    np.testing.assert_allclose(
        prm(x, once, **options), prm(x, twice, **options), rtol=1e-8, atol=1e-8
    )


@given(cases.seeds)
def test_cosine_does_not_see_the_scale_of_the_input(seed):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    y = prm(7 * x, params, similarity="cosine")
    near(y, 7 * prm(x, params, similarity="cosine"))


@pytest.mark.parametrize(("similarity", "power"), [("dot", 2), ("l1", 1)])
@given(cases.seeds)
def test_a_larger_input_is_larger_weights(similarity, power, seed):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    weights = {
        "alpha": params.alpha * 3**power,
        "beta": params.beta * 3**power,
    }
    options = {"similarity": similarity}
    near(
        prm(3 * x, params, **options),
        3 * prm(x, params._replace(**weights), **options),
    )


@laws
def test_without_position_its_parameters_are_unused(seed, options):
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    options |= {"position": False}
    other = params._replace(theta=params.theta + 1, d=params.d * 5)
    near(prm(x, other, **options), prm(x, params, **options), rtol=0, atol=0)


@laws
def test_without_position_is_an_encoding_of_one(seed, options):
    """θ = 0 makes D the same everywhere, and d = 1/√(2π) makes it 1."""
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    flat = params._replace(theta=np.zeros(2), d=np.asarray(1 / np.sqrt(2 * np.pi)))
    y = prm(x, flat, **options | {"position": True})
    near(y, prm(x, params, **options | {"position": False}))


@given(cases.seeds)
def test_normalisation_is_affine_in_the_scores(seed):
    """λ(S - μ)/(σ + ε) + ξ, by hand from the maps of the run without it."""
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    _, maps = prm(x, params, normalize=False, return_maps=True)
    scores = np.asarray(maps.scores).reshape(-1, SHAPE.groups)
    for ddof in (0, 1):
        sigma = scores.std(0, ddof=ddof)
        slope = params.lam / (sigma + 1e-5)
        shift = params.xi - slope * scores.mean(0)
        y = prm(x, params, ddof=ddof)
        near(y, prm(x, params._replace(lam=slope, xi=shift), normalize=False))


@given(cases.seeds)
def test_ddof_scales_sigma(seed):
    """√(n/(n-1)) relates the two; large scores make the 1e-5 beside σ vanish."""
    x, params = cases.image(seed, SHAPE), cases.params(seed, SHAPE.groups)
    params = params._replace(alpha=1e8 * params.alpha, beta=1e8 * params.beta)
    n = SHAPE.h * SHAPE.w
    longer = params._replace(lam=params.lam * np.sqrt((n - 1) / n))
    one, zero = prm(x, params, ddof=1), prm(x, longer, ddof=0)
    np.testing.assert_allclose(one, zero, rtol=1e-8, atol=1e-8)
