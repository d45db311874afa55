"""Going to where the network hesitates: another image, another plane, the middle of the canvas."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cas.protocol import Box, Doubt
from napari_cas.store import Project
from napari_cas.ui.where import camera, canvas_size


@pytest.fixture
def widget(widget, qtbot, model_viewer, ramp):
    """A panel on a picture and a stack that lies elsewhere in the world."""
    model_viewer.add_image(ramp(900, 1000), name="flat")
    options = {"scale": (2, 0.5, 0.5), "translate": (10, 100, 200)}
    model_viewer.add_image(ramp(5, 60, 80), name="stack", **options)
    model_viewer.layers.selection = list(model_viewer.layers)
    qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.image is not None, timeout=20_000)
    return widget


def note(widget, name, plane, *doubts):
    with Project.open(widget.session.project.path, mode="worker") as worker:
        entry = worker.image(name)
        entry.mark_predicted("m", [(plane, Box(0, 0, *entry.plane_size))], doubts=doubts)


def test_the_place_comes_into_the_middle(widget, model_viewer, qtbot):
    note(widget, "flat", (), Doubt(0.3, 700, 200))
    note(widget, "stack", (3,), Doubt(0.8, 20, 30))
    widget.session._work.use("m")
    widget.intents.go_next()
    assert widget.session.image.name == "stack"
    assert widget.layers.plane() == (3,)
    assert np.allclose(camera(model_viewer).center[-2:], (100 + 20 / 2, 200 + 30 / 2))
    assert "(80 %)" in widget.panel.train.status.text()
    qtbot.mouseClick(widget.panel.results.next, Qt.MouseButton.LeftButton)
    assert widget.session.image.name == "flat"
    assert np.allclose(camera(model_viewer).center[-2:], (700, 200))
    assert canvas_size(model_viewer).min() / camera(model_viewer).zoom == pytest.approx(300, abs=3)
    # The brush is in the hand.
    assert model_viewer.layers.selection.active is widget.layers.regions


def test_what_was_just_painted_counts(widget):
    note(widget, "flat", (), Doubt(0.3, 700, 200), Doubt(0.2, 100, 100))
    widget.session._work.use("m")
    widget.session.image.regions[690:710, 190:210] = 1
    widget.intents.go_next()
    assert "(20 %)" in widget.panel.train.status.text()


@pytest.mark.parametrize("turned", [{"ndisplay": 3}, {"order": (1, 0, 2)}])
def test_in_another_view_nothing_moves_and_it_is_said_how_to_go_back(widget, model_viewer, turned):
    note(widget, "stack", (3,), Doubt(0.8, 20, 30))
    widget.session._work.use("m")
    widget.session.select_image("stack")
    for attribute, value in turned.items():
        setattr(model_viewer.dims, attribute, value)
    before = model_viewer.dims.point, camera(model_viewer).center
    widget.intents.go_next()
    assert (model_viewer.dims.point, camera(model_viewer).center) == before
    assert "2-D view" in widget.panel.guide.label.text()
    model_viewer.dims.ndisplay, model_viewer.dims.order = 2, (0, 1, 2)
    widget.intents.go_next()
    assert widget.layers.plane() == (3,)


def test_nobody_is_told_to_paint_what_can_only_be_looked_at(widget, monkeypatch):
    note(widget, "flat", (), Doubt(0.3, 700, 200))
    widget.session._work.use("m")
    widget.intents.go_next()
    assert "Paint it: K" in widget.panel.train.status.text()
    assert len(widget.panel.train.status.text()) <= 110
    monkeypatch.setattr(type(widget.session), "writable", False)
    widget.intents.go_next()
    assert widget.panel.train.status.text() == "In the middle the network hesitates (30 %)."


def test_the_brush_holds_no_region_of_the_plane_it_comes_to(widget):
    note(widget, "stack", (3,), Doubt(0.8, 20, 30))
    note(widget, "stack", (1,), Doubt(0.7, 20, 30))
    note(widget, "flat", (), Doubt(0.3, 700, 200))
    widget.session._work.use("m")
    widget.session.select_image("stack")
    stack = widget.session.image
    stack.regions[3, 0:4, 0:4] = 1
    stack.regions[3, 8:12, 0:4] = 2
    widget.session.flush()
    widget.session.select_image("flat")
    widget.intents.go_next()
    assert widget.layers.plane() == (3,)
    assert widget.layers.regions.selected_label == 3
    widget.intents.go_next()
    assert widget.layers.plane() == (1,)
    assert widget.layers.regions.selected_label == 1  # nothing is painted here


def test_strokes_that_were_deleted_come_back_to_be_painted(widget, model_viewer):
    note(widget, "flat", (), Doubt(0.3, 700, 200))
    widget.session._work.use("m")
    model_viewer.layers.remove(widget.layers.regions)
    widget.intents.go_next()
    assert widget.layers.regions in model_viewer.layers


def test_without_a_prediction_it_is_said_what_to_do(widget):
    assert not widget.panel.results.next.isEnabled()
    widget.intents.go_next()
    assert "Predict all" in widget.panel.guide.label.text()
