"""Query points and masks, against positions known by hand and the sown maps."""

import pathlib
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prm_flax import PRM, create_model
from prm_flax.figures.maps import (
    has_prm,
    positional_masks,
    queries,
    stage_masks,
    stage_queries,
)
from prm_flax.figures.watch import prm_stages


class Pooled(nn.Module):
    """A PRM on the image's means over windows."""

    window: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        x = nn.avg_pool(x, self.window, self.window)
        return PRM(groups=2, name="prm")(x)


class Three(nn.Module):
    """Two PRMs on the image, whose names sort the wrong way round, and one on 2×2."""

    feature_info = (("stage1", 2, 1), ("stage2", 2, 1), ("stage3", 2, 2))

    @nn.compact
    def __call__(self, x):
        self.sow("intermediates", "maps", "somebody else's")
        self.sow("intermediates", "mean", x.mean(), reduce_fn=lambda _, new: new)
        x = PRM(groups=1, name="second")(-PRM(groups=1, name="third")(x))
        return PRM(groups=1, name="first")(nn.avg_pool(x, (2, 2), (2, 2)))


class Twice(nn.Module):
    """One PRM, called on the image and on its negative."""

    @nn.compact
    def __call__(self, x):
        prm = PRM(groups=1, name="prm")
        return prm(x) + prm(-x)


def bright(*places, shape=(1, 4, 6, 2)):
    """An image of zeros with ones at these (image, row, column, channel)."""
    x = np.zeros(shape, np.float32)
    for place in places:
        x[place] = 1
    return jnp.asarray(x)


def look(function, model, x):
    return function(model, model.init(jax.random.key(0), x), x)


def test_the_query_is_where_the_group_is_brightest():
    x = bright((0, 1, 2, 0), (0, 3, 5, 1), (1, 2, 0, 1), shape=(2, 4, 6, 2))
    found = look(queries, Pooled(), x)
    assert list(found) == ["prm"]
    # The second image's first channel is constant: the first position.
    assert found["prm"].tolist() == [[[1, 2], [3, 5]], [[0, 0], [2, 0]]]


def test_a_position_of_a_smaller_map_is_the_middle_of_its_pixels():
    # In windows of 2×3 pixels: rows 2 and 3, columns 0 to 2; rows 0 and 1, 3 to 5.
    x = bright((0, 3, 1, 0), (0, 0, 5, 1))
    found = look(queries, Pooled(window=(2, 3)), x)
    assert found["prm"].tolist() == [[[2.5, 1], [0.5, 4]]]


def test_the_order_is_the_networks_and_other_sown_maps_are_left_alone():
    found = look(queries, Three(), bright((0, 2, 3, 0), shape=(1, 4, 4, 1)))
    assert list(found) == ["third", "second", "first"]
    assert found["third"].tolist() == [[[2, 3]]]
    assert found["second"].tolist() == [[[0, 0]]]


def test_every_call_of_one_module_is_listed():
    found = look(queries, Twice(), bright((0, 2, 3, 0), shape=(1, 4, 4, 1)))
    assert {name: q.tolist() for name, q in found.items()} == {
        "prm[0]": [[[2, 3]]],
        "prm[1]": [[[0, 0]]],
    }


def test_a_stage_is_the_last_prm_of_a_size_by_the_networks_name():
    x = bright((0, 2, 3, 0), shape=(1, 4, 4, 1))
    found, all_of_them = look(stage_queries, Three(), x), look(queries, Three(), x)
    assert list(found) == ["stage2", "stage3"]
    np.testing.assert_array_equal(found["stage2"], all_of_them["second"])
    np.testing.assert_array_equal(found["stage3"], all_of_them["first"])


def test_a_stage_without_a_name_is_the_modules_path():
    assert list(look(stage_queries, Pooled(), bright((0, 1, 2, 0)))) == ["prm"]


def test_a_network_gives_its_sown_queries_and_three_stages():
    model = create_model("prm_resnet14", num_classes=10, groups=8)
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, 27, 20, 1)), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    variables = jax.tree.map(
        lambda s: jnp.asarray(random.normal(size=s.shape), jnp.float32), shapes
    )
    variables["batch_stats"] = jax.tree.map(jnp.abs, variables["batch_stats"])
    found = queries(model, variables, x)
    assert [*found] == [f"layer{k}_{i}/prm" for k in (1, 2, 3) for i in (0, 1)]
    _, state = jax.jit(lambda v: model.apply(v, x, mutable=["intermediates"]))(
        variables
    )
    (maps,) = state["intermediates"]["layer3_1"]["prm"]["maps"]
    _, height, width, _ = maps.gate.shape
    expected = (np.asarray(maps.query) + 0.5) * [27 / height, 20 / width] - 0.5
    np.testing.assert_allclose(found["layer3_1/prm"], expected)
    stages = stage_queries(model, variables, x)
    assert [*stages] == ["stage1", "stage2", "stage3"]
    np.testing.assert_array_equal(stages["stage3"], found["layer3_1/prm"])
    np.testing.assert_array_equal(stages["stage1"], found["layer1_1/prm"])


@pytest.mark.parametrize("model, has", [(Three(), True), (nn.Dense(3), False)])
def test_whether_there_is_a_prm_is_asked_without_computing(model, has):
    x = bright((0, 2, 3, 0), shape=(1, 4, 4, 1))
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    assert has_prm(model, shapes, x) is has


def test_a_network_without_prm_is_refused_with_what_to_take():
    with pytest.raises(ValueError, match=r"Dense has no PRM.*prm_resnet14"):
        look(queries, nn.Dense(3), bright((0, 0, 0, 0)))


def test_a_single_image_is_refused_with_what_to_pass():
    x = bright((0, 0, 0, 0))
    variables = Pooled().init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"\(4, 6, 2\).*images\[None\]"):
        queries(Pooled(), variables, x[0])


def test_arrays_need_no_matplotlib():
    program = (
        "import sys, prm_flax.figures.maps as maps; assert maps.queries; "
        "assert not [m for m in sys.modules if m.startswith('matplotlib')]"
    )
    root = pathlib.Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root)


def test_a_mask_is_the_mean_of_the_groups_position_encodings():
    x = bright((0, 1, 2, 0), (0, 3, 5, 1))
    variables = Pooled().init(jax.random.key(0), x)
    _, state = Pooled().apply(variables, x, mutable=["intermediates"])
    (sown,) = state["intermediates"]["prm"]["maps"]
    mask = positional_masks(Pooled(), variables, x)["prm"]
    np.testing.assert_allclose(mask, sown.position.mean(-1), rtol=1e-6)


@given(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.floats(0, 5))
def test_a_mask_is_nowhere_above_the_densitys_peak(places, theta):
    x = bright((0, *places[:2], 0), (0, *places[2:], 1), shape=(1, 4, 4, 2))
    variables = Pooled().init(jax.random.key(0), x)
    variables["params"]["prm"]["theta"] = jnp.full(2, theta, jnp.float32)
    mask = positional_masks(Pooled(), variables, x)["prm"][0]
    peak = 1 / np.sqrt(2 * np.pi)  # d = 1
    assert np.all(mask >= 0) and mask.max() <= peak * (1 + 1e-6)
    if places[:2] == places[2:]:
        assert mask[tuple(places[:2])] == pytest.approx(peak)


def test_masks_of_stages_are_those_of_the_last_prms():
    x = bright((0, 2, 3, 0), shape=(1, 4, 4, 1))
    found, all_of_them = (
        look(stage_masks, Three(), x),
        look(positional_masks, Three(), x),
    )
    assert list(all_of_them) == ["third", "second", "first"]
    assert {stage: mask.shape for stage, mask in found.items()} == {
        "stage2": (1, 4, 4),
        "stage3": (1, 2, 2),
    }
    np.testing.assert_array_equal(found["stage2"], all_of_them["second"])


def test_each_prm_has_a_stage_and_those_of_one_size_share_it():
    x = bright((0, 2, 3, 0), shape=(1, 4, 4, 1))
    variables = jax.eval_shape(Three().init, jax.random.key(0), x)
    assert prm_stages(Three(), variables, (4, 4, 1)) == {
        "third": "stage1–2",
        "second": "stage1–2",
        "first": "stage3",
    }
    variables = jax.eval_shape(Pooled().init, jax.random.key(0), x.repeat(2, -1))
    assert prm_stages(Pooled(), variables, (4, 4, 2)) == {"prm": ""}
