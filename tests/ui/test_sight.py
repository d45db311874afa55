"""What is in sight when an image is annotated that is not the only one open."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

from napari_cas.ui.sight import fit
from napari_cas.ui.where import camera, canvas_size


@pytest.fixture
def first(project, ramp):
    return project.add_image("first", ramp(64, 80), "yx")


@pytest.fixture
def second(project, ramp):
    return project.add_image("second", ramp(640, 800), "yx")


def test_an_image_that_covers_the_one_to_be_painted_is_hidden(adapter, model_viewer, first):
    below = model_viewer.add_image(np.eye(64), name="below")
    own = model_viewer.add_image(np.eye(80)[:64], name="own")
    beside = model_viewer.add_image(np.eye(64), name="beside", translate=(0, 80))
    mixed = model_viewer.add_image(np.eye(64), name="mixed", blending="additive")
    faint = model_viewer.add_image(np.eye(64), name="faint", opacity=0.5)
    over = model_viewer.add_image(np.eye(256), name="over")
    adapter.sight.own("first", [own])
    adapter.show(first, predicted=False)
    layers = (below, own, beside, mixed, faint, over)
    assert [layer.name for layer in layers if not layer.visible] == ["over"]
    adapter.show(None, predicted=False)
    assert over.visible


def test_all_channels_of_an_image_that_covers_are_hidden(adapter, model_viewer, first):
    own = model_viewer.add_image(np.eye(80)[:64], name="own")
    mixed = model_viewer.add_image(np.eye(64), name="mixed", blending="additive")
    adapter.sight.own("first", [own])
    adapter.show(first, predicted=False)
    channels = model_viewer.add_image(np.ones((3, 64, 64)), channel_axis=0, name="other")
    assert adapter.sight.is_covered("first")
    adapter.choose_region(1)
    assert [layer.visible for layer in channels] == [False, False, False]
    assert mixed.visible
    assert own.visible
    adapter.show(None, predicted=False)
    assert all(layer.visible for layer in channels)


def test_an_image_that_reaches_beyond_the_one_to_be_painted_is_hidden(adapter, model_viewer, first):
    """On what lies beside the image strokes would vanish; the view is on the image alone."""
    large = model_viewer.add_image(np.eye(256), name="large")
    alike = model_viewer.add_image(np.eye(81)[:65], name="alike")
    own = model_viewer.add_image(np.eye(80)[:64], name="own")
    beside = model_viewer.add_image(np.eye(64), name="beside", translate=(0, 80))
    adapter.sight.own("first", [own])
    adapter.show(first, predicted=False)
    assert [layer.visible for layer in (large, alike, own, beside)] == [False, True, True, True]
    zoom = 0.95 * min(canvas_size(model_viewer) / (64, 80))
    assert camera(model_viewer).zoom == pytest.approx(zoom)
    adapter.show(None, predicted=False)
    assert large.visible


def test_the_view_stays_where_nothing_else_was_looked_at(adapter, model_viewer, first):
    adapter.sight.own("first", [model_viewer.add_image(np.eye(80)[:64], name="own")])
    model_viewer.add_image(np.eye(80)[:64], name="another stain", blending="additive")
    camera(model_viewer).zoom = 17.0
    adapter.show(first, predicted=False)
    assert camera(model_viewer).zoom == 17.0


def test_an_opened_project_is_not_hidden_by_what_was_open_before(adapter, model_viewer, second):
    open_before = model_viewer.add_image(np.eye(70), name="open before")
    adapter.show(second, predicted=False)
    assert not open_before.visible
    zoom = model_viewer.scene.camera.zoom
    model_viewer.reset_view(layers=[model_viewer.layers["second"]])
    assert zoom == model_viewer.scene.camera.zoom


def test_a_map_with_a_palette_is_shown_in_its_colours(adapter, model_viewer, project):
    places = np.random.default_rng(0).integers(0, 9, (64, 80), np.uint8)
    table = np.random.default_rng(1).integers(0, 255, (9, 3), np.uint8)
    entry = project.add_image("map", table[places], "yxc")
    grey = model_viewer.add_image(places, name="map")
    adapter.sight.own("map", [grey], "yx")
    said = []
    adapter.sight.replaced.connect(said.append)
    adapter.show(entry, predicted=False)
    (layer,) = (layer for layer in model_viewer.layers if layer.name == "map")
    assert layer.rgb
    np.testing.assert_array_equal(np.asarray(layer.data), table[places])
    assert said[0].startswith("Image 'map' is shown in the colours of its palette. Your layer")
    adapter.show(None, predicted=False)
    assert [layer for layer in model_viewer.layers if layer.name == "map"] == [grey]


def test_closing_the_project_shows_the_annotators_images_again(
    adapter, model_viewer, first, second
):
    for name in ("first", "second"):
        layer = model_viewer.add_image(np.eye(64), name=name)
        adapter.sight.own(name, [layer])
    hidden = model_viewer.add_labels(np.eye(64, dtype=int), name="theirs", visible=False)
    adapter.show(first, predicted=False)
    adapter.show(second, predicted=False)
    assert not model_viewer.layers["first"].visible
    adapter.show(None, predicted=False)
    assert model_viewer.layers["first"].visible
    assert not hidden.visible
    assert not adapter.sight.owned()


def test_objects_of_an_image_go_and_come_with_it(adapter, model_viewer, first, second):
    adapter.show(first, predicted=True)
    objects = Labels(np.eye(64, dtype=int), name="first objects")
    adapter.give(objects)
    adapter.show(second, predicted=True)
    assert objects in model_viewer.layers
    assert not objects.visible
    adapter.show(first, predicted=True)
    assert objects.visible
    objects.visible = False  # by the annotator, whose word it is
    adapter.show(second, predicted=True)
    adapter.show(first, predicted=True)
    assert not objects.visible


def test_each_image_fills_the_canvas_whatever_the_sizes_of_the_others(
    adapter, model_viewer, project, first, second, ramp
):
    for name, shape in (("first", (64, 80)), ("second", (640, 800))):
        adapter.sight.own(name, [model_viewer.add_image(np.ones(shape), name=name)])
    adapter.show(second, predicted=False)
    adapter.show(first, predicted=False)
    camera = model_viewer.scene.camera
    near = camera.zoom
    adapter.show(second, predicted=False)
    assert near == pytest.approx(10 * camera.zoom)
    camera.zoom = 17.0
    adapter.show(project.add_image("third", ramp(640, 800), "yx"), predicted=False)
    assert camera.zoom == 17.0  # the next field of view, seen as the last one was


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_a_picture_is_fitted_beside_a_stack(model_viewer, ramp, ndisplay):
    model_viewer.add_image(ramp(5, 60, 80), name="stack", translate=(0, 500, 500))
    flat = model_viewer.add_image(ramp(30, 40), name="flat", scale=(2, 2))
    model_viewer.dims.ndisplay = ndisplay
    fit(model_viewer, [flat])
    if ndisplay == 2:
        assert np.allclose(camera(model_viewer).center[-2:], (29, 39))
        zoom = 0.95 * min(canvas_size(model_viewer) / (60, 80))
        assert camera(model_viewer).zoom == pytest.approx(zoom)
