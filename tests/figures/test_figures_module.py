"""The module's picture: its numbers are PRM's, its file is as it should be."""

import pathlib

import matplotlib.image
import numpy as np
import pytest
from support.pictures import assert_words_apart

from prm_flax.figures import module, scene
from prm_flax.figures.__main__ import main
from prm_flax.figures.canvas import LIGHT, blank
from prm_flax.figures.shapes import Sheet, stack

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def test_the_scene_is_the_formula_written_out():
    drawn = scene.scene()
    x = scene.features().astype(np.float64)[..., : scene.CHANNELS]
    means = x.mean(-1)
    row, column = np.unravel_index(means.argmax(), means.shape)
    assert drawn.query.tolist() == [row, column]
    q, z = x[row, column], x.mean((0, 1))
    place = np.stack(np.mgrid[: scene.SIZE, : scene.SIZE], -1)
    scaled = np.array(scene.THETA) * abs(place - [row, column]) / scene.D
    position = (np.exp(-0.5 * scaled**2) / (scene.D * np.sqrt(2 * np.pi))).mean(-1)
    s = scene.ALPHA * (x @ q) * position + scene.BETA * (x @ z)
    t = (s - s.mean()) / (s.std() + 1e-5)
    gate = 1 / (1 + np.exp(-scene.LAM * t - scene.XI))
    expected = (means, gate * means, q, z, position, x @ q, x @ z, s, gate)
    shown = (drawn.before[0], drawn.after[0], drawn.q, drawn.z, *drawn[5:])
    for array, by_hand in zip(shown, expected, strict=True):
        np.testing.assert_allclose(array, by_hand, atol=1e-5)


def test_the_scene_tells_the_story():
    drawn = scene.scene()
    far = 15, 15  # in the second object, as like the query as the first one's rim
    assert drawn.sim_query[far] > 0.4 * drawn.sim_query.max()
    assert drawn.gate[far] < 0.6 * drawn.gate.max()
    assert drawn.sim_context[0, -1] > 0.7 * drawn.sim_context.max()
    assert drawn.sim_query[0, -1] < drawn.sim_query.mean()


def test_the_picture_is_a_small_png_of_the_same_bytes_every_time(tmp_path):
    one, two = tmp_path / "a.png", tmp_path / "b.png"
    module.draw_module(one)
    module.draw_module(two)
    assert one.read_bytes() == two.read_bytes()
    assert matplotlib.image.imread(one).shape == (810, 1965, 4)
    assert one.stat().st_size < 200_000


def test_no_words_lie_over_each_other_or_leave_the_page(monkeypatch):
    drawn = []
    monkeypatch.setattr(module, "save", lambda figure, path: drawn.append(figure))
    module.draw_module("m.png")
    assert_words_apart(drawn[0], 29)


def test_a_stack_has_a_face_and_two_sides_for_each_group():
    sheet = Sheet(blank(2, 2, constrained=False), LIGHT)
    faces = np.arange(12.0).reshape(3, 2, 2)
    stack(sheet, (0.5, 0.5), faces, 0.6, 0.2)
    images = sheet.axes.images
    assert len(images) == 3
    front = max(images, key=lambda image: image.get_zorder())
    np.testing.assert_array_equal(front.get_array(), faces[0])
    assert {image.get_clim() for image in images} == {(0.0, 11.0)}
    np.testing.assert_allclose(front.get_extent(), (0.2, 0.8, 0.2, 0.8))
    # Two sides and a frame each.
    assert len(sheet.axes.patches) == 9


def test_the_command_draws_light_and_dark(tmp_path):
    light, dark = tmp_path / "light.png", tmp_path / "dark.png"
    main(["module", str(light)])
    main(["module", str(dark), "--dark"])
    assert matplotlib.image.imread(light)[0, 0].tolist() == [1, 1, 1, 1]
    assert matplotlib.image.imread(dark)[0, 0, :3].max() < 0.1


def test_an_unknown_figure_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        main(["modul", "m.png"])
    assert "module" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["prm.png", "prm-dark.png"])
def test_the_stored_picture_fits_a_readme(name):
    assert matplotlib.image.imread(DOCS / name).shape == (810, 1965, 4)
    assert (DOCS / name).stat().st_size < 200_000
