"""Strokes land on the pixel under the mouse, however the annotator's layer lies and is ordered."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from napari_cas.store import Project
from training.driving import Driver

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(600)]
SIZE = (120, 160)
SHEARED = np.array([[1, 0.4, 20], [0, 1.5, 30], [0, 0, 1]])


@pytest.fixture
def window(qapp):
    """Return a driver of the window and the panel."""
    import napari

    from napari_cas.ui.widget import AnnotationWidget

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    widget = AnnotationWidget(viewer)
    viewer.window.add_dock_widget(widget, area="right", name="napari-cas")
    driver = Driver(viewer)
    yield driver, widget
    viewer.close()
    driver.wait(lambda: widget._closed, 20)
    driver.process(0.1)
    gc.collect()


def numbered(*leading):
    """Return pixels that say where they are: no two of them are the same."""
    shape = (*leading, *SIZE)
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


def start(window, axes=""):
    driver, widget = window
    if axes:
        choice = widget.panel.start.axes
        choice.setCurrentIndex([choice.itemData(i) for i in range(choice.count())].index(axes))
    driver.click(widget.panel.start.start)
    driver.wait(lambda: widget.session.image is not None, 60)
    driver.process(0.3)


def under_mouse(driver, world):
    """Return the value of the image that is seen at a place of the canvas."""
    from napari.layers import Image

    point = (*driver.viewer.dims.point[:-2], *world)
    images = [a for a in driver.viewer.layers if isinstance(a, Image) and a.visible]
    return int(images[0].get_value(point, world=True))


def paint(driver, shares=((0.3, 0.3), (0.3, 0.6))):
    """Drag between two places of the image that is seen; return the values under the mouse."""
    from napari.layers import Image

    shown = next(a for a in driver.viewer.layers if isinstance(a, Image) and a.visible)
    low, high = shown.extent.world[:, -2:]
    ends = [tuple(low + np.asarray(share) * (high - low)) for share in shares]
    driver.line(*ends)
    return [under_mouse(driver, end) for end in ends]


def on_disk(widget):
    project = Project.open(widget.session.project.path, mode="r")
    return np.asarray(project.image(widget.session.image.name).regions[...])


@pytest.mark.parametrize(
    "options",
    [
        {"translate": (300, -500), "scale": (0.5, 0.5)},
        {"rotate": 30},
        {"affine": SHEARED},
        {"shear": (0.3,), "translate": (50, 60)},
        {"scale": (-1, 1)},
    ],
    ids=["translate", "rotate", "affine", "shear", "mirrored"],
)
def test_on_a_layer_that_lies_elsewhere(window, options, tmp_path):
    driver, widget = window
    own = driver.viewer.add_image(numbered(), name="tile", colormap="green", **options)
    own.contrast_limits = (100, 9000)
    start(window)
    values = paint(driver)
    regions = on_disk(widget)
    assert np.unique(regions).tolist() == [0, 1]
    for value in values:
        assert regions[np.unravel_index(value, SIZE)] == 1
    widget.layers.ensure_prediction()
    shown = next(a for a in driver.viewer.layers if a.name == "tile")
    assert (shown is own) == ("translate" in options and "shear" not in options)
    assert (shown.colormap.name, shown.contrast_limits) == ("green", [100, 9000])
    for labels in (widget.layers.prediction, widget.layers.regions):
        np.testing.assert_allclose(labels.extent.world, shown.extent.world)
    driver.screenshot(str(tmp_path / "window.png"))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((5, 2), "tcyx"), ((5, 2), "zcyx"), ((3, 4, 2), "tzcyx"), ((3, 2, 4), "tczyx")],
)
def test_on_the_frame_that_is_shown(window, shape, axes, tmp_path):
    driver, widget = window
    own = driver.viewer.add_image(numbered(*shape), name="movie")
    driver.viewer.dims.set_current_step(0, 1)
    driver.process(0.2)
    start(window, axes)
    leading = len(shape) - 1
    assert driver.viewer.dims.ndim == leading + 2
    assert widget.layers.plane()[0] == driver.viewer.dims.current_step[0] == 1
    expected = {}
    for step in (1, 2):
        driver.viewer.dims.set_current_step(0, step)
        driver.process(0.2)
        driver.key("N")
        for value in paint(driver):
            where = dict(zip(axes, np.unravel_index(value, (*shape, *SIZE)), strict=True))
            place = tuple(where[axis] for axis in axes if axis != "c")
            assert place[0] == step
            expected[place] = widget.layers.regions.selected_label
    driver.screenshot(str(tmp_path / "window.png"))
    regions = on_disk(widget)
    assert {place: regions[place] for place in expected} == expected
    for step in range(shape[0]):
        ids = set(np.unique(regions[step])) - {0}
        assert ids == {label for place, label in expected.items() if place[0] == step}
    widget.intents.close_project()
    assert list(driver.viewer.layers) == [own]


def test_layers_come_back_when_the_panel_is_closed(window):
    driver, widget = window
    own = driver.viewer.add_image(numbered(), name="turned", rotate=30)
    start(window)
    assert own not in driver.viewer.layers
    driver.viewer.window.remove_dock_widget(widget)
    driver.wait(lambda: widget._closed, 20)
    assert driver.viewer.layers[0] is own
    assert own.visible
    widget.deleteLater()
