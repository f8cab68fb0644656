"""The picture of the heads: its numbers are attention's and PRM's."""

import pathlib

import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from support.pictures import assert_words_apart

from prm_flax import recalibrate
from prm_flax.figures import heads
from prm_flax.figures.__main__ import main
from prm_flax.figures.heads import heads_scene
from prm_flax.figures.scene import GROUPS, features, parameters

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def test_prms_half_is_prm_of_every_group():
    drawn, x = heads_scene(), jnp.asarray(features())
    y, maps = recalibrate(x, parameters(), return_maps=True)
    np.testing.assert_array_equal(drawn.queries, maps.query)
    assert len(np.unique(drawn.queries, axis=0)) > 1
    for k, group in enumerate(np.split(np.asarray(y), GROUPS, axis=-1)):
        np.testing.assert_array_equal(drawn.gates[k], maps.gate[..., k])
        np.testing.assert_allclose(drawn.after[k], group.mean(-1), atol=1e-6)


def test_attentions_half_weighs_all_positions():
    drawn = heads_scene()
    n = drawn.attended[0].size
    assert drawn.attention.shape == (GROUPS, n, n)
    np.testing.assert_allclose(drawn.attention.sum(-1), 1, rtol=1e-5)
    assert drawn.attention.min() > 0
    # Each head has another map, and none is flat.
    assert np.ptp(drawn.attention, axis=(1, 2)).min() > 4 / n
    assert np.abs(drawn.attention[0] - drawn.attention[1]).max() > 4 / n


def test_no_words_lie_over_each_other_or_leave_the_page(monkeypatch):
    drawn = []
    monkeypatch.setattr(heads, "save", lambda figure, path: drawn.append(figure))
    heads.draw_heads("h.png")
    assert_words_apart(drawn[0], 30)


def test_the_command_draws_light_and_dark(tmp_path):
    light, dark = tmp_path / "light.png", tmp_path / "dark.png"
    assert main(["heads", str(light)]) == main(["heads", str(dark), "--dark"]) == 0
    assert matplotlib.image.imread(light)[0, 0].tolist() == [1, 1, 1, 1]
    assert matplotlib.image.imread(dark)[0, 0, :3].max() < 0.1


@pytest.mark.parametrize("name", ["heads.png", "heads-dark.png"])
def test_the_stored_picture_fits_a_readme(name):
    assert matplotlib.image.imread(DOCS / name).shape == (885, 2190, 4)
    assert (DOCS / name).stat().st_size < 300_000
