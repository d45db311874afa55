"""Undo in the prediction layer: by real keys in the real window, with predictions that change."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cas.config import Config
from napari_cas.protocol import Box, Tile
from napari_cas.store import Project
from napari_cas.store.image import ImageEntry
from training.driving import Driver

pytestmark = pytest.mark.viewer
SIZE = 200


@pytest.fixture
def window(qapp, tmp_path, ramp):
    """Return a driver of the window, the panel and the image, with everything predicted as 2."""
    import napari

    from napari_cas.ui.widget import AnnotationWidget

    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image("flat", ramp(SIZE, SIZE), "yx")
    viewer = napari.Viewer(show=True)
    widget = AnnotationWidget(viewer)
    viewer.window.add_dock_widget(widget, area="right")
    driver = Driver(viewer)
    widget.session.open_project(tmp_path / "p.zarr")
    predict(widget, 2)
    widget.layers.ensure_prediction()
    viewer.layers.selection.active = widget.layers.prediction
    widget.layers.prediction.mode = "paint"
    widget.layers.prediction.selected_label = 5
    driver.process(0.2)
    yield driver, widget, widget.session.image
    viewer.close()
    driver.wait(lambda: widget._closed, 20)
    driver.process(0.1)
    gc.collect()


def predict(widget, label):
    """Write a prediction as the worker does, and announce it as the session does."""
    entry = widget.session.image
    worker = ImageEntry(entry.folder, "worker")
    worker.prediction[...] = label
    worker.prediction.flush()
    entry.prediction.invalidate((), Box(0, 0, SIZE, SIZE))
    widget.session.prediction_changed.emit(Tile("flat", (), Box(0, 0, SIZE, SIZE)))


def shown(widget):
    return np.asarray(widget.layers.prediction._slice.image.raw)


def correct(driver, row):
    driver.line((row, 40), (row, 160), steps=6)


def test_undo_after_a_new_prediction_shows_that_prediction(window):
    driver, widget, entry = window
    correct(driver, 100)
    assert shown(widget)[100, 100] == 5
    assert entry.corrections.ids(()) != {}
    assert set(entry.regions.ids(())) == {1}
    predict(widget, 3)
    assert shown(widget)[100, 100] == 5
    assert shown(widget)[20, 20] == 3
    driver.key("Z", "Control")
    assert (shown(widget) == 3).all()
    assert entry.corrections.ids(()) == {}
    assert entry.regions.ids(()) == {}  # what it taught is taken back
    assert not entry.corrections.dirty
    assert not entry.regions.dirty
    predict(widget, 4)
    assert (shown(widget) == 4).all()


def test_undo_of_a_correction_that_the_new_prediction_agrees_with_removes_it(window):
    driver, widget, entry = window
    correct(driver, 100)
    predict(widget, 5)
    driver.key("Z", "Control")
    assert entry.corrections.ids(()) == {}
    predict(widget, 3)
    assert (shown(widget) == 3).all()


def test_redo_corrects_and_teaches_again(window):
    driver, widget, entry = window
    correct(driver, 100)
    corrected, taught = entry.corrections.ids(()), entry.regions.ids(())
    predict(widget, 3)
    driver.key("Z", "Control")
    predict(widget, 4)
    driver.key("Z", "Control", "Shift")
    assert entry.corrections.ids(()) == corrected
    assert [*entry.regions.ids(()).values()] == [*taught.values()]  # under an id not yet used
    assert shown(widget)[100, 100] == 5
    assert shown(widget)[20, 20] == 4
    driver.key("Z", "Control")
    assert (shown(widget) == 4).all()
    assert entry.regions.ids(()) == {}


def test_redo_brings_all_of_a_correction_back_though_the_network_says_the_same_by_now(window):
    driver, widget, entry = window
    correct(driver, 100)
    corrected, taught = np.asarray(entry.corrections), np.asarray(entry.regions)
    predict(widget, 5)  # trained on it
    driver.key("Z", "Control")
    assert entry.regions.ids(()) == {}
    saved = []
    widget.layers.painted.connect(lambda: saved.append(True))
    driver.key("Z", "Control", "Shift")
    assert (np.asarray(entry.corrections) == corrected).all()
    assert (np.asarray(entry.regions) == taught).all()
    assert not entry.corrections.dirty
    assert not entry.regions.dirty
    assert saved
    predict(widget, 3)
    assert (shown(widget)[corrected > 0] == 5).all()


def test_undo_goes_back_one_correction_at_a_time(window):
    driver, widget, entry = window
    correct(driver, 100)
    widget.layers.prediction.selected_label = 6
    driver.line((40, 100), (160, 100), steps=6)  # across the first
    predict(widget, 3)
    driver.key("Z", "Control")
    assert shown(widget)[100, 100] == 5
    assert shown(widget)[60, 100] == 3
    assert set(entry.corrections.ids(())) == {6}
    driver.key("Z", "Control")
    assert (shown(widget) == 3).all()


def test_strokes_painted_over_what_a_correction_taught_stay(window):
    driver, _, entry = window
    correct(driver, 100)
    entry.regions[100, 100:110] = 9
    driver.key("Z", "Control")
    assert entry.regions.ids(()) == {9: 10}


def test_a_later_correction_leaves_strokes_over_an_earlier_one(window):
    driver, _, entry = window
    correct(driver, 100)
    entry.regions[98:103, 50:60] = 9
    driver.line((60, 20), (140, 180), steps=12)  # its box holds the first
    assert entry.regions[60, 20] == 1
    assert (entry.regions[98:103, 50:60] == 9).all()


def test_a_region_painted_over_a_correction_takes_it_back(window):
    driver, widget, entry = window
    correct(driver, 100)
    predict(widget, 3)
    driver.viewer.layers.selection.active = widget.layers.regions
    widget.layers.regions.selected_label = 7
    driver.line((60, 100), (140, 100), steps=6)
    assert entry.regions[100, 100] == 7
    assert entry.corrections[100, 100] == 0  # else it would say of what kind region 7 is
    assert shown(widget)[100, 100] == 3
    assert shown(widget)[100, 60] == 5
    assert not entry.corrections.dirty


def test_a_correction_comes_back_when_the_region_over_it_is_undone(window):
    driver, widget, entry = window
    correct(driver, 100)
    corrected, taught = np.asarray(entry.corrections), np.asarray(entry.regions)
    driver.viewer.layers.selection.active = widget.layers.regions
    widget.layers.regions.selected_label = 7
    driver.line((60, 100), (140, 100), steps=6)
    driver.line((20, 20), (20, 60), steps=3)  # over nothing
    painted = np.asarray(entry.corrections)
    for _ in range(2):
        driver.key("Z", "Control")
        assert (np.asarray(entry.corrections) == painted).all()
        driver.key("Z", "Control")
        assert (np.asarray(entry.corrections) == corrected).all()
        assert (np.asarray(entry.regions) == taught).all()
        assert not entry.corrections.dirty
        assert shown(widget)[100, 100] == 5
        driver.key("Z", "Control", "Shift")
        driver.key("Z", "Control", "Shift")
        assert (np.asarray(entry.corrections) == painted).all()
        assert not entry.corrections.dirty
        assert shown(widget)[100, 100] == 2


def test_regions_that_are_merged_keep_what_was_said_of_them(window):
    driver, widget, entry = window
    correct(driver, 100)
    said = entry.corrections.ids(())
    with widget.layers.undoable([((), Box(0, 0, SIZE, SIZE))]):
        entry.regions[90:110, 40:160] = np.where(entry.regions[90:110, 40:160] == 1, 2, 0)
    assert entry.corrections.ids(()) == said


def test_undo_in_the_regions_still_undoes_strokes(window):
    driver, widget, entry = window
    correct(driver, 100)
    driver.viewer.layers.selection.active = widget.layers.regions
    widget.layers.regions.selected_label = 7
    driver.line((30, 40), (30, 160), steps=6)
    driver.key("Z", "Control")
    assert set(entry.regions.ids(())) == {1}
    assert entry.corrections.ids(()) != {}


def test_an_accepted_segment_can_be_undone_and_redone(window):
    driver, widget, entry = window
    widget.viewer.layers.selection.active = widget.layers.regions
    driver.line((20, 40), (20, 60), steps=3)
    stroke = entry.regions.ids(())
    driver.hover(100, 100)
    driver.key("A")
    assert entry.regions.ids(()) == {1: SIZE * SIZE}
    driver.key("Z", "Control")
    assert entry.regions.ids(()) == stroke
    assert not entry.regions.dirty  # on disk, too
    driver.key("Z", "Control", "Shift")
    assert entry.regions.ids(()) == {1: SIZE * SIZE}
    driver.key("Z", "Control")
    driver.key("Z", "Control")
    assert entry.regions.ids(()) == {}


def test_where_what_was_accepted_cannot_be_undone_it_is_said(window, monkeypatch):
    driver, widget, entry = window
    widget.viewer.layers.selection.active = widget.layers.regions
    driver.hover(100, 100)
    driver.key("A")
    assert widget.panel.train.status.text() == "Segment accepted as region 1."
    driver.key("Z", "Control")
    assert "accepted" not in widget.panel.train.status.text()
    monkeypatch.setattr(widget.layers.frame, "box", Box(0, 0, 64, 64))  # as of a huge plane
    driver.hover(100, 100)
    driver.key("A")
    assert "Ctrl+Z cannot undo it" in widget.panel.train.status.text()
    driver.key("Z", "Control")
    assert list(entry.regions.ids(()).values()) == [SIZE * SIZE]


def test_the_button_accepts_only_a_label_that_was_picked(window):
    _, widget, entry = window
    widget.viewer.layers.selection.active = widget.layers.regions
    widget.intents.accept_selected()
    assert entry.regions.ids(()) == {}
    assert "press A" in widget.panel.guide.label.text()
    widget.viewer.layers.selection.active = widget.layers.prediction
    widget.layers.prediction.selected_label = 2
    widget.intents.accept_selected()
    assert entry.regions.ids(()) == {1: SIZE * SIZE}


def draw_polygon(driver):
    """Click three corners and end with a double click on the fourth, as napari has it."""
    button, held = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    for y, x in ((20, 20), (20, 60), (60, 60), (60, 20)):
        driver.hover(y, x)
        QTest.mouseClick(driver.canvas, button, held, driver.point(y, x))
    QTest.mouseDClick(driver.canvas, button, held, driver.point(60, 20))
    # Qt's double click leaves the button down, for whatever window comes next.
    QTest.mouseRelease(driver.canvas, button, held, driver.point(60, 20))
    driver.process(0.05)


def test_a_polygon_is_saved_at_once_and_can_be_undone(window):
    driver, widget, entry = window
    widget.viewer.layers.selection.active = widget.layers.regions
    widget.layers.regions.mode = "polygon"
    saved = []
    widget.layers.painted.connect(lambda: saved.append(entry.regions.ids(())))
    draw_polygon(driver)
    assert saved[-1] == entry.regions.ids(()) == {1: 41 * 41}
    assert not entry.regions.dirty
    driver.key("Z", "Control")
    assert entry.regions.ids(()) == {}
    assert not entry.regions.dirty


def test_a_polygon_on_the_prediction_teaches_and_can_be_undone(window):
    driver, widget, entry = window
    widget.layers.prediction.mode = "polygon"
    draw_polygon(driver)
    assert entry.corrections.ids(()) == {6: 41 * 41}
    assert not entry.corrections.dirty
    assert entry.regions.ids(()) == {1: 41 * 41}
    driver.key("Z", "Control")
    assert entry.corrections.ids(()) == {}
    assert entry.regions.ids(()) == {}
    assert not entry.corrections.dirty


def test_nothing_is_accepted_into_a_plane_that_is_not_seen(window):
    _, widget, entry = window
    widget.viewer.layers.selection.active = widget.layers.prediction
    widget.layers.prediction.selected_label = 2
    widget.viewer.dims.ndisplay = 3
    widget.intents.accept_selected()
    widget.intents.accept_under_cursor()
    assert entry.regions.ids(()) == {}
    assert "go back to the 2-D view" in widget.panel.guide.label.text()
    widget.viewer.dims.ndisplay = 2


def test_after_loading_a_model_nothing_painted_on_the_former_ones_prediction_is_shown(
    window, tmp_path, monkeypatch
):
    driver, widget, entry = window
    monkeypatch.setattr(widget.session, "predict_view", lambda: None)  # there is no worker
    record = {"config": Config().model_dump(mode="json"), "input": {"channels": 1}}
    widget.session.project.save_model("m", {"a": np.ones(3, np.float32)}, record)
    widget.session._work.use("m")
    widget.session.save_model(tmp_path / "saved")
    widget.session._work.use("another")
    correct(driver, 100)
    assert shown(widget)[100, 100] == 5
    taught = entry.regions.ids(())
    widget.intents.load_model(tmp_path / "saved")
    driver.process(0.1)
    assert shown(widget)[100, 100] == 2
    widget.layers.prediction.undo()
    widget.layers.prediction.redo()
    assert entry.corrections.ids(()) == {}
    assert entry.regions.ids(()) == taught != {}
    assert widget.viewer.layers.selection.active is widget.layers.regions


def test_what_a_forgotten_model_said_goes_out_of_sight(window, monkeypatch):
    driver, widget, entry = window
    entry.prediction.flush()
    widget.session._work.use("learnt")
    asked = []
    monkeypatch.setattr(
        widget.panel.project, "confirm_forgetting", lambda: asked.append(1) or len(asked) > 1
    )
    widget.intents.reset_model()
    assert widget.session.checkpoint == "learnt"
    assert widget.layers.prediction is not None
    widget.intents.reset_model()
    assert asked == [1, 1]
    driver.process(0.1)
    assert widget.layers.prediction is None
    assert "prediction" not in widget.viewer.layers
    assert widget.viewer.layers.selection.active is widget.layers.regions
    predict(widget, 3)  # the next model's
    assert (shown(widget) == 3).all()
