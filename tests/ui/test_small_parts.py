"""Dispatch, activity, paths, colours, keys, display and optional layers."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari._qt.qt_resources import get_stylesheet
from napari.utils import progress
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_cas.session import Progress
from napari_cas.ui import display, extras, facts, keys, looks, paths, theme
from napari_cas.ui.activity import Activity
from napari_cas.ui.dispatch import QtDispatcher
from napari_cas.ui.panels.common import SteadyLabel, settle


def test_dispatch_runs_in_the_owners_thread_and_in_order(qtbot):
    dispatch, seen = QtDispatcher(), []

    def work():
        for number in range(50):
            dispatch(lambda number=number: seen.append((number, threading.get_ident())))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not seen
    qtbot.waitUntil(lambda: len(seen) == 50)
    assert seen == [(number, threading.get_ident()) for number in range(50)]


def test_dispatch_drops_calls_after_its_end(qtbot):
    dispatch, seen = QtDispatcher(), []
    dispatch(lambda: seen.append(1))
    dispatch.close()
    dispatch(lambda: seen.append(2))
    qtbot.wait(30)
    assert not seen


def test_activity_has_one_bar_for_each_work_and_none_at_the_end(qtbot):
    activity = Activity()
    activity.show(Progress(0, 4, "Fine-tuning"))
    activity.show(Progress(3, 4, "Fine-tuning"))
    activity.show(Progress(1, 9, "Exporting"))
    assert not progress._all_instances  # never in the middle of what tells of it
    qtbot.waitUntil(lambda: len(progress._all_instances) == 2)
    bars = {bar.desc.strip(": "): bar.n for bar in progress._all_instances}
    assert bars == {"Fine-tuning": 3, "Exporting": 1}
    activity.show(Progress(4, 4, "Fine-tuning"))
    qtbot.waitUntil(lambda: len(progress._all_instances) == 1)
    activity.clear()
    assert not progress._all_instances


def test_new_projects_get_free_names(own_home):
    first = paths.new_project("my cells: 1/2")
    assert first == own_home / "my cells_ 1_2.zarr"
    first.mkdir(parents=True)
    assert paths.new_project("my cells: 1/2").name == "my cells_ 1_2-2.zarr"


def test_free_names_keep_what_comes_behind_the_number(tmp_path):
    assert paths.free(tmp_path, "export", ".ome.zarr").name == "export.ome.zarr"
    (tmp_path / "export.ome.zarr").mkdir()
    assert paths.free(tmp_path, "export", ".ome.zarr").name == "export-2.ome.zarr"


def test_the_default_home(monkeypatch):
    monkeypatch.delenv("NAPARI_CAS_HOME")
    assert paths.home().name == "napari-cas"


@pytest.mark.parametrize(("size", "brush"), [((64, 64), 3), ((512, 512), 9), ((9000, 9000), 40)])
def test_the_brush_fits_the_image(size, brush):
    assert looks.brush_size(*size) == brush


def test_prediction_colours_are_those_of_the_store():
    from napari_cas.store.colors import label_color

    table = looks.prediction_colours().color_dict
    for label in (1, 7, 200):
        assert np.allclose(table[label], np.array(label_color(label)) / 255)
    assert table[0][3] == 0


def test_strokes_have_other_colours_than_predictions():
    strokes, segments = looks.region_colours(), looks.prediction_colours().color_dict
    for region in range(1, 13):
        colour = strokes.map(region)[:3]
        assert colour.max() > 0.7  # seen on dark images
        assert not np.allclose(colour, strokes.map(region + 1)[:3])
        assert all(np.abs(colour - segments[label][:3]).max() > 0.1 for label in range(1, 9))
    assert strokes.map(0)[3] == 0
    assert np.allclose(strokes.map(1), strokes.map(13))


def test_theme_colours_differ_and_mix():
    dark, light = theme.colours("dark"), theme.colours("light")
    assert dark.background != light.background
    assert theme.colours("dark") == theme.DARK
    assert theme.shade("#000000", 0.5, "#ffffff") == "#808080"


@pytest.mark.parametrize("name", ["dark", "light"])
def test_the_primary_buttons_text_can_be_read_in_every_theme(qtbot, name):
    inside = QWidget()
    qtbot.addWidget(inside)
    button = QPushButton("Fine-tune and predict", inside)
    button.setObjectName("casPrimary")
    button.setDefault(True)
    inside.setStyleSheet(get_stylesheet(name) + theme.panel_style(theme.colours(name)))
    button.resize(260, 32)
    picture, accent = button.grab().toImage(), theme.colours(name).accent
    row = range(30, picture.width() - 30)
    drawn = {picture.pixelColor(x, y).name() for x in row for y in range(6, 26)}
    assert accent in drawn
    least_for_text = 4.5  # WCAG 2, level AA
    assert max(theme.contrast(colour, accent) for colour in drawn) > least_for_text


def test_contrast_is_that_of_wcag():
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert theme.readable("#a0b8ff", "#ffffff", "#3b3a39") == "#3b3a39"


def test_keys_are_free_in_napari_and_are_given_back(model_viewer):
    from napari.layers import Labels
    from napari.utils.key_bindings import coerce_keybinding
    from napari.utils.shortcuts import default_shortcuts

    class Anything:
        def __getattr__(self, name):
            return lambda: pressed.append(name)

    pressed: list[str] = []
    before = dict(model_viewer.keymap)
    bound = keys.KeyBindings(model_viewer, Anything())
    taken = {
        key
        for action, bindings in default_shortcuts.items()
        if not any(word in action for word in ("shapes", "points", "polyline", "_data", "in_slice"))
        for key in bindings
    }
    for key in bound.table:
        assert coerce_keybinding(key) not in taken, key
        assert coerce_keybinding(key) not in Labels.class_keymap, key
    model_viewer.keymap[coerce_keybinding("N")](model_viewer)
    assert pressed == ["new_region"]
    bound.remove()
    assert dict(model_viewer.keymap) == before


def test_regions_are_counted_up_to_two_and_again_when_told(project, ramp):
    entry = project.add_image("a", ramp(3, 300, 300), "zyx")
    counter = facts.RegionCounter()
    assert counter.count(entry, (1,)) == 0
    entry.regions[1, 5:9, 5:9] = 2**31 - 1  # as large as napari allows, and no more memory
    assert counter.count(entry, (1,)) == 0
    counter.forget()
    assert counter.count(entry, (1,)) == 1
    entry.regions[1, 280:290, 5:9] = 2
    entry.regions[0, 0, 0] = 3
    counter.forget()
    assert counter.count(entry, (1,)) == 2
    assert counter.count(entry, (2,)) == 0


def test_a_plane_that_one_region_fills_is_told_from_one_that_is_painted(project, ramp):
    entry = project.add_image("a", ramp(2, 300, 300), "zyx")
    counter = facts.RegionCounter()
    assert not counter.filled(entry, (1,))
    entry.regions[1] = 4
    counter.forget()
    assert counter.filled(entry, (1,))
    assert counter.count(entry, (1,)) == 1
    assert not counter.filled(entry, (0,))
    entry.regions[1, 299, 299] = 5
    counter.forget()
    assert not counter.filled(entry, (1,))


def test_uncertainty_is_normalised_entropy():
    p = np.zeros((4, 2, 3), np.float16)
    p[:, 0, 0] = 0.25
    p[1, 0, 1] = 1
    p[:2, 0, 2] = 0.5
    values = np.asarray(extras.Uncertainty(p))
    assert values.dtype == np.float32
    assert values[0] == pytest.approx([1, 0, 0.5], abs=1e-3)
    assert not values[1].any()
    assert extras.Uncertainty(p)[0, 2] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "names"),
    [
        ((40, 50), "yx", np.uint16, ["im"]),
        ((40, 50, 3), "yxc", np.uint8, ["im"]),
        ((2, 40, 50), "cyx", np.uint16, ["im a", "im b"]),
        ((3, 2, 40, 50), "zcyx", np.float32, ["im a", "im b"]),
    ],
)
def test_images_of_the_project_become_layers(project, shape, axes, dtype, names):
    pixels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    given = ("a", "b") if "c" in axes and shape[axes.index("c")] == 2 else None
    entry = project.add_image("im", pixels, axes, channel_names=given)
    layers = display.image_layers(entry)
    assert [layer.name for layer in layers] == names
    assert {layer.axis_labels for layer in layers} == {tuple(axes.replace("c", ""))}
    shown = layers[0].data[0] if layers[0].multiscale else layers[0].data
    if layers[0].rgb:
        assert np.array_equal(np.asarray(shown), pixels)
    else:
        first = pixels.take(0, axes.index("c")) if "c" in axes else pixels
        assert np.array_equal(np.asarray(shown), first)
        low, high = layers[0].contrast_limits
        assert (low, high) == (entry.intensity.low[0], entry.intensity.high[0])


def test_probabilities_have_a_slider_named_channel(project):
    pixels = np.random.default_rng(0).integers(0, 200, (2, 40, 50)).astype(np.uint8)
    entry = project.add_image("im", pixels, "tyx")
    layer = display.extra_layer("probabilities", np.zeros((8, 2, 40, 50), np.float16), entry)
    assert layer.axis_labels == ("channel", "t", "y", "x")
    layer = display.extra_layer("uncertainty", np.zeros((2, 40, 50), np.float16), entry)
    assert layer.axis_labels == ("t", "y", "x")


def test_a_steady_label_keeps_its_height_and_grows_for_a_long_text(qtbot):
    column = QWidget()
    qtbot.addWidget(column)
    label = SteadyLabel("casStatus", lines=2)
    layout = QVBoxLayout(column)
    layout.addWidget(label)
    layout.addStretch()
    column.resize(200, 300)
    column.show()
    heights = []
    for text in ("", "Short.", "Two lines of text, which need more room.", "Long. " * 40):
        label.setText(text)
        settle()
        heights.append(label.height())
        assert label.text() == text
    assert heights[0] == heights[1] == heights[2] < heights[3]
    label.setText("Short.")
    settle()
    assert label.height() == heights[0]


def test_another_text_of_the_same_height_lays_nothing_out(qtbot):
    told = []

    class Column(QWidget):
        def event(self, event):
            told.extend([event.type()] if event.type() == QEvent.Type.LayoutRequest else [])
            return super().event(event)

    column = Column()
    qtbot.addWidget(column)
    label = SteadyLabel("casStatus")
    QVBoxLayout(column).addWidget(label)
    column.resize(200, 100)
    column.show()
    settle()
    told.clear()
    label.setText("Fine-tuning: step 20")
    settle()
    assert not told
    label.setText("Long. " * 40)
    settle()
    assert told
