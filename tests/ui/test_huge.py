"""A plane of 30,000 × 30,000 in the real viewer: painted where one looks, fluid, sparse on disk."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest
import zarr

from napari_cas.protocol import Box, Tile
from napari_cas.store import Project
from napari_cas.store.image import ImageEntry
from napari_cas.ui import frame
from training.driving import Driver

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(600)]
SIZE, LEVELS = 30_000, 7


def pattern(side, step):
    """Return bands of two textures, `side` pixels a side, as seen with every `step`-th pixel."""
    y, x = np.mgrid[:side, :side] * step
    stripes = 40 * ((x // 300 + y // 500) % 2) + 80
    return (stripes + 20 * np.sin(x / 40) * np.cos(y / 25)).astype(np.uint8)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """Write a sparse OME-Zarr 0.5 image: coarse levels whole, fine ones only where it is looked."""
    path = tmp_path_factory.mktemp("slide") / "slide.ome.zarr"
    datasets = []
    group = zarr.create_group(str(path))
    for level in range(LEVELS):
        side, step = -(-SIZE // 2**level), 2**level
        array = group.create_array(str(level), shape=(side, side), chunks=(512, 512), dtype="uint8")
        known = side if side < 2000 else min(side, 2048)
        array[:known, :known] = pattern(known, step)
        scale = {"type": "scale", "scale": [0.5 * step, 0.5 * step]}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    multiscale = {"name": "slide", "axes": axes, "datasets": datasets}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    return path


@pytest.fixture
def window(qapp, tmp_path, slide):
    """Return a driver of the window and the panel, the slide open in a project."""
    import napari

    from napari_cas.ui.widget import AnnotationWidget

    with Project.create(tmp_path / "p.zarr") as project:
        project.add_reference("slide", slide)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    widget = AnnotationWidget(viewer)
    viewer.window.add_dock_widget(widget, area="right")
    driver = Driver(viewer)
    begin = time.perf_counter()
    widget.session.open_project(tmp_path / "p.zarr")
    driver.process(0.3)
    widget.opened_in = time.perf_counter() - begin
    yield driver, widget
    viewer.close()
    driver.wait(lambda: widget._closed, 20)
    driver.process(0.1)
    gc.collect()


def look(driver, y, x, zoom=2.0):
    """Move the camera to a pixel, `zoom` screen pixels a micrometre, and let the view settle."""
    camera = driver.viewer.scene.camera
    camera.zoom = zoom
    camera.center = (0, y / 2, x / 2)
    driver.process(0.5)


def paint(driver, y, x, *, length=120):
    """Paint a line to the right from a pixel; return the milliseconds of each mouse move."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    places = [driver.point(y / 2, (x + at) / 2) for at in np.linspace(0, length, 60)]
    button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    driver.move(places[0], pressed=False)
    QTest.mousePress(driver.canvas, button, none, places[0])
    taken = []
    for place in places[1:]:
        begin = time.perf_counter()
        driver.move(place, pressed=True)
        taken.append((time.perf_counter() - begin) * 1000)
        driver.process(0.005)
    QTest.mouseRelease(driver.canvas, button, none, places[-1])
    driver.process(0.05)
    return taken


def files(entry, name="regions"):
    folder = entry.folder / "labels" / name / "0"
    return [p for p in folder.rglob("*") if p.is_file() and p.name != "zarr.json"]


def test_painting_here_and_there_is_fluid_and_sparse(window):
    driver, widget = window
    entry, layers = widget.session.image, widget.layers
    assert driver.viewer.layers["slide"].multiscale
    taken = []
    for number, (y, x) in enumerate([(700, 900), (29_500, 28_800), (15_000, 600)], start=1):
        look(driver, y, x)
        layer = layers.regions
        assert max(layer.data.shape) <= frame.LARGEST
        assert layer.data.box.y0 <= y < layer.data.box.y1
        layers.choose_region(number)
        taken += paint(driver, y, x)
        assert entry.regions[y, x + 60] == number
        assert entry.regions[y, x - 100] == 0
        assert np.asarray(layer._slice.image.raw).max() == number
    look(driver, 700, 900)
    assert np.asarray(layers.regions._slice.image.raw).max() == 1  # it is still there, and shown
    assert set(entry.regions.ids(())) == {1, 2, 3}
    assert not entry.regions.dirty
    assert 3 <= len(files(entry)) <= 12
    assert np.percentile(taken, 99) <= 33, np.percentile(taken, [50, 99, 100])


def test_undo_reaches_strokes_in_the_window_and_none_elsewhere(window):
    driver, widget = window
    entry = widget.session.image
    look(driver, 700, 900)
    paint(driver, 700, 900)
    paint(driver, 760, 900)
    driver.key("Z", "Control")
    assert entry.regions[700, 960] == 1
    assert entry.regions[760, 960] == 0
    look(driver, 20_000, 20_000)
    before = entry.regions.ids(())
    driver.key("Z", "Control")
    driver.key("Z", "Control", "Shift")
    assert entry.regions.ids(()) == before
    paint(driver, 20_000, 20_000)
    driver.key("Z", "Control")
    assert entry.regions.ids(()) == before


def test_small_moves_keep_the_window_and_what_can_be_undone(window):
    driver, widget = window
    look(driver, 10_000, 10_000)
    data = widget.layers.regions.data
    paint(driver, 10_000, 10_000)
    look(driver, 10_050, 10_080)
    look(driver, 10_050, 10_080, zoom=6.0)
    assert widget.layers.regions.data is data
    driver.key("Z", "Control")
    assert widget.session.image.regions.ids(()) == {}


def test_the_window_waits_for_the_brush_to_lift(window):
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    driver, widget = window
    look(driver, 10_000, 10_000)
    entry, data = widget.session.image, widget.layers.regions.data
    button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    start = driver.point(5000, 5000)
    QTest.mousePress(driver.canvas, button, none, start)
    driver.viewer.scene.camera.center = (0, 9000, 9000)
    driver.process(0.4)
    assert widget.layers.regions.data is data
    QTest.mouseRelease(driver.canvas, button, none, start)
    driver.process(0.5)
    assert widget.layers.regions.data is not data
    assert not entry.regions.dirty
    assert entry.regions[10_000, 10_000] == 1


def test_what_is_tried_on_the_prediction_reaches_the_right_pixels(window):
    driver, widget = window
    entry, layers = widget.session.image, widget.layers
    look(driver, 20_000, 20_000)
    worker = ImageEntry(entry.folder, "worker")
    worker.prediction[19_000:21_000, 19_000:21_000] = 2
    worker.prediction.flush()
    layers.ensure_prediction()
    box = Box(19_000, 19_000, 21_000, 21_000)
    entry.prediction.invalidate((), box)
    widget.session.prediction_changed.emit(Tile("slide", (), box))
    driver.hover(10_000, 10_000)
    assert layers.under_cursor() == (2, (20_000, 20_000))
    driver.viewer.layers.selection.active = layers.prediction
    layers.prediction.mode = "paint"
    layers.prediction.selected_label = 4
    paint(driver, 20_100, 20_100)
    assert entry.corrections[20_100, 20_150] == 5
    assert entry.regions[20_100, 20_150] == 1  # it teaches
    driver.key("Z", "Control")
    assert entry.corrections.ids(()) == {}
    assert entry.regions.ids(()) == {}


def test_the_view_is_what_the_camera_sees(window):
    driver, widget = window
    look(driver, 20_000, 10_000)
    plane, box = widget.layers.view()
    assert plane == ()
    size = driver.canvas.size()
    assert box.shape == pytest.approx((size.height(), size.width()), abs=4)
    assert (box.y0 + box.y1) / 2 == pytest.approx(20_000, abs=3)
    assert widget.session.view.box == box.clip(*entry_size(widget))
    look(driver, 15_000, 15_000, zoom=0.03)
    assert widget.layers.view() == ((), Box(0, 0, SIZE, SIZE))
    assert max(widget.layers.regions.data.shape) <= frame.LARGEST
    assert widget.layers.regions.bounding_box.visible
    assert "Zoom in" in widget.panel.guide.label.text()
    look(driver, 20_000, 10_000)
    assert not widget.layers.regions.bounding_box.visible
    assert "Paint" in widget.panel.guide.label.text()


def entry_size(widget):
    return widget.session.image.plane_size


def test_a_locked_layer_stays_locked_when_the_window_moves(window):
    driver, widget = window
    widget.layers.regions.editable = False
    look(driver, 20_000, 20_000)
    assert widget.layers.regions.data.box.y0 > 15_000
    assert not widget.layers.regions.editable


def test_an_overview_whose_middle_is_predicted_is_not_predicted_again(window, tmp_path):
    _, widget = window
    entry, middle = widget.session.image, Box(12_952, 12_952, 17_048, 17_048)
    overview = (), Box(0, 0, *entry.plane_size)
    widget.session._work.checkpoint = "m"
    assert widget.intents.seen.is_outdated(*overview)
    with Project.open(tmp_path / "p.zarr", mode="worker") as project:
        theirs = project.image(entry.name)
        theirs.prediction[middle.slices] = 1
        theirs.flush()
    entry.prediction.invalidate((), middle)
    assert not widget.intents.seen.is_outdated(*overview)
    assert widget.intents.seen.is_outdated((), Box(0, 0, 2000, 2000))
