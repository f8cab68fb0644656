"""Contribution rates: the formula, its laws, where PRMs are found; the picture."""

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from prm_flax import PRM, create_model
from prm_flax.figures import rates_plot
from prm_flax.figures.maps import contribution_rates
from prm_flax.nnx import PRM as NNXPRM

number = st.floats(-(2.0**99), 2.0**99, width=32)
pairs = st.lists(st.tuples(number, number), min_size=1, max_size=5)


def tree(alpha, beta):
    alpha, beta = jnp.array(alpha, jnp.float32), jnp.array(beta, jnp.float32)
    rest = dict.fromkeys(("lam", "xi", "theta", "d"), jnp.zeros(1))
    return {"alpha": alpha, "beta": beta, **rest}


def rate(alpha, beta):
    (found,) = contribution_rates(tree(alpha, beta)).values()
    return found


def test_it_is_the_mean_share_of_alpha():
    assert rate([1, -3], [-1, 1]) == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_a_group_of_zeros_counts_nothing():
    assert rate([0, 1], [0, 0]) == 0.5


@given(pairs)
def test_it_is_a_share(values):
    assert 0 <= rate(*zip(*values, strict=True)) <= 1


@given(pairs, st.sampled_from([-64.0, 0.5, 8.0]))
def test_scale_and_sign_do_not_matter(values, scale):
    # Powers of two, and numbers that stay normal.
    alpha, beta = (
        np.round(np.clip(v, -1e6, 1e6), 3) for v in zip(*values, strict=True)
    )
    assert rate(alpha * scale, beta * scale) == pytest.approx(rate(alpha, beta))


@given(pairs)
def test_alpha_and_beta_share_everything(values):
    alpha, beta = (np.array(v) for v in zip(*values, strict=True))
    there = float(np.mean((alpha != 0) | (beta != 0)))
    assert rate(alpha, beta) + rate(beta, alpha) == pytest.approx(there)


def test_large_numbers_do_not_overflow():
    assert rate([3e38], [3e38]) == 0.5


def test_modules_are_in_the_networks_order_and_by_path():
    model = create_model("prm_mobilenet_v2", num_classes=3)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    variables = jax.tree.map(lambda s: np.ones(s.shape, s.dtype), shapes)
    found = contribution_rates(variables)
    assert list(found) == [f"features_{k}/prm" for k in range(1, 18)]
    assert set(found.values()) == {0.5}
    assert contribution_rates(variables["params"]) == found


def test_a_prm_alone_is_called_prm():
    x = jnp.ones((1, 2, 2, 4))
    variables = PRM(groups=2).init(jax.random.key(0), x)
    assert contribution_rates(variables) == {"prm": 0.0}


def test_an_nnx_module_has_the_same_leaves():
    module = nnx.Dict(a=NNXPRM(2, rngs=nnx.Rngs(0)))
    assert contribution_rates(nnx.to_pure_dict(nnx.state(module))) == {"a": 0.0}


def test_other_modules_are_none():
    half = {"alpha": jnp.ones(2), "beta": jnp.ones(2)}
    assert contribution_rates({"params": {"dense": half}}) == {}


RATES = {f"layer{s}_{i}/prm": (s + i) / 10 for s in (1, 2) for i in (0, 1, 2)}
STAGES = {name: f"stage{name[5]}" for name in RATES}


def test_the_picture_has_a_point_a_module_and_a_word_a_stage(monkeypatch):
    drawn = []
    monkeypatch.setattr(rates_plot, "save", lambda figure, path: drawn.append(figure))
    rates_plot.draw_rates("r.png", RATES, STAGES, "mine")
    (axes,) = drawn[0].axes
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), list(RATES.values()))
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == [name.removesuffix("/prm") for name in RATES]
    places = [(t.get_position()[0], t.get_text()) for t in axes.texts]
    assert places == [(1.0, "stage1"), (4.0, "stage2")]
    assert axes.get_ylim() == (0, 1)
    assert axes.get_title() == "mine"


def test_the_picture_is_a_png_of_the_same_bytes_every_time(tmp_path):
    one, two = tmp_path / "a.png", tmp_path / "b.png"
    for path in (one, two):
        rates_plot.draw_rates(path, RATES, STAGES, "mine")
    assert one.read_bytes() == two.read_bytes()
    assert np.ptp(matplotlib.image.imread(one)[..., :3]) > 0.5


def test_one_module_alone_can_be_drawn(tmp_path):
    rates_plot.draw_rates(tmp_path / "r.png", {"prm": 0.3}, {"prm": ""}, "one")
    assert (tmp_path / "r.png").stat().st_size > 1000
