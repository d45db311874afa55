"""Naming what was found, in the composed panel with real keys and clicks."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cas.protocol import Box, RoundReport, Tile
from napari_cas.session import State
from napari_cas.store import Project
from napari_cas.store.colors import label_color
from napari_cas.ui.panels.kinds import Kind, KindsView


@pytest.fixture
def widget(widget, qtbot, model_viewer, ramp):
    """A panel on a project whose image is predicted: labels 1, 2, 4 in parts of 50, 45 and 5 %."""
    model_viewer.add_image(ramp(40, 100), name="one")
    qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.image is not None, timeout=20_000)
    widget.session._work.use("model")
    predict(widget, np.repeat([1, 2, 4], [50, 45, 5]).astype(np.uint8))
    widget.show()
    return widget


def predict(widget, labels):
    """Predict each row of the image as these labels, as the worker does, and end the work."""
    with Project.open(widget.session.project.path, mode="worker") as worker:
        worker.image("one").prediction[...] = np.broadcast_to(labels, (40, 100))
        worker.image("one").prediction.flush()
    widget.session.image.prediction.invalidate()
    widget.session.prediction_changed.emit(Tile("one", (), Box(0, 0, 40, 100)))
    widget.session.state_changed.emit(State.READY)


def rows(widget):
    return {
        label: (row.name.text(), row.share.text()) for label, row in widget.panel.kinds.rows.items()
    }


def name(qtbot, widget, label, text):
    field = widget.panel.kinds.rows[label].name
    qtbot.mouseClick(field, Qt.MouseButton.LeftButton)
    field.selectAll()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Return)


def begin_typing(qtbot, view, label):
    """Show a list by itself and type the beginning of a name; return the field."""
    qtbot.addWidget(view)
    view.show()
    view.activateWindow()
    qtbot.waitUntil(view.isActiveWindow, timeout=10_000)
    field = view.rows[label].name
    qtbot.mouseClick(field, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(field.hasFocus)
    qtbot.keyClicks(field, "nuc")
    return field


def eye(widget, label):
    return widget.panel.kinds.rows[label].eye


def take(qtbot, widget, label):
    qtbot.mouseClick(widget.panel.kinds.rows[label].swatch, Qt.MouseButton.LeftButton)


def know(widget, *labels):
    """Have the worker report which kinds its model tells apart, as it does with every view."""
    report = RoundReport("model", 1, (), 0, 0, (), converged=True, kinds=labels)
    widget.session.reported.emit(report)
    widget.session.state_changed.emit(State.READY)


def test_what_was_found_is_listed_with_its_share(widget):
    assert widget.panel.kinds.isVisible()
    assert rows(widget) == {1: ("", "50 %"), 2: ("", "45 %"), 4: ("", "5.0 %")}
    assert widget.panel.kinds.rows[4].name.placeholderText() == "kind 4"


def test_one_name_makes_one_kind_and_another_parts_them(widget, qtbot):
    name(qtbot, widget, 2, "leaf")
    name(qtbot, widget, 4, "leaf")
    layer = widget.layers.prediction
    assert widget.session.names == {2: "leaf", 4: "leaf"}
    assert rows(widget) == {1: ("", "50 %"), 2: ("leaf", "50 %"), 4: ("leaf", "")}
    assert layer.get_status((10, 98), world=True)["value"] == "2; name: leaf"
    assert np.unique(layer._slice.image.raw).tolist() == [1, 2]
    icon = widget.panel.kinds.rows[4].swatch.icon().pixmap(8, 8).toImage().pixelColor(4, 4)
    assert icon.getRgb() == label_color(2)
    name(qtbot, widget, 4, "stem")
    assert rows(widget)[4] == ("stem", "5.0 %")
    assert np.unique(layer._slice.image.raw).tolist() == [1, 2, 4]


def test_a_kind_is_looked_at_alone(widget, qtbot):
    layer = widget.layers.prediction
    qtbot.mouseClick(eye(widget, 2), Qt.MouseButton.LeftButton)
    assert (layer.show_selected_label, layer.selected_label) == (True, 2)
    qtbot.mouseClick(eye(widget, 4), Qt.MouseButton.LeftButton)
    assert (layer.show_selected_label, layer.selected_label) == (True, 4)
    assert not eye(widget, 2).isChecked()
    qtbot.mouseClick(eye(widget, 4), Qt.MouseButton.LeftButton)
    assert not layer.show_selected_label


def test_a_colour_is_taken_for_the_brush(widget, qtbot, model_viewer):
    layer = widget.layers.prediction
    qtbot.mouseClick(eye(widget, 2), Qt.MouseButton.LeftButton)
    take(qtbot, widget, 4)
    assert model_viewer.layers.selection.active is layer
    assert (layer.selected_label, str(layer.mode)) == (4, "paint")
    assert not layer.show_selected_label  # what is wrong has to be seen
    assert not eye(widget, 2).isChecked()
    name(qtbot, widget, 2, "leaf")
    name(qtbot, widget, 4, "leaf")
    take(qtbot, widget, 4)
    assert layer.selected_label == 2


def test_a_kind_that_is_not_on_this_plane_can_be_painted_all_the_same(widget, qtbot, model_viewer):
    know(widget, 1, 2, 4, 7)
    assert rows(widget)[7] == ("", "0.0 %")
    model_viewer.layers.remove(widget.layers.prediction)
    take(qtbot, widget, 7)
    layer = widget.layers.prediction
    layer.paint((20, 10), layer.selected_label)
    assert set(widget.session.image.corrections.ids(())) == {7 + 1}
    assert rows(widget).keys() == {1, 2, 4, 7}
    widget.session.reset_model()
    assert rows(widget) == {}


def test_a_kind_that_is_gone_is_no_longer_looked_at_alone(widget, qtbot):
    qtbot.mouseClick(eye(widget, 4), Qt.MouseButton.LeftButton)
    predict(widget, np.uint8(1))
    assert list(rows(widget)) == [1]
    assert not widget.layers.prediction.show_selected_label


def test_a_kind_looked_at_alone_is_still_seen_once_it_is_one_with_another(widget, qtbot):
    layer = widget.layers.prediction
    qtbot.mouseClick(eye(widget, 4), Qt.MouseButton.LeftButton)
    name(qtbot, widget, 2, "leaf")
    name(qtbot, widget, 4, "leaf")
    assert (layer.show_selected_label, layer.selected_label) == (True, 2)
    name(qtbot, widget, 4, "stem")
    assert (layer.show_selected_label, layer.selected_label) == (True, 4)


def test_a_prediction_made_anew_shows_all_kinds_and_so_does_the_list(widget, qtbot, model_viewer):
    qtbot.mouseClick(eye(widget, 4), Qt.MouseButton.LeftButton)
    model_viewer.layers.remove(widget.layers.prediction)
    widget.layers.ensure_prediction()
    widget.session.state_changed.emit(State.READY)
    assert not widget.layers.prediction.show_selected_label
    assert not eye(widget, 4).isChecked()


def test_any_label_of_a_name_is_accepted_and_split(widget, qtbot, model_viewer):
    name(qtbot, widget, 2, "leaf")
    name(qtbot, widget, 4, "leaf")
    model_viewer.layers.selection.active = widget.layers.prediction
    widget.layers.prediction.selected_label = 4
    widget.intents.accept_selected()
    assert np.count_nonzero(widget.session.image.regions[...]) == 40 * 50
    assert widget.session.split_into_objects(label=4).count == 1


@pytest.fixture
def typing(widget, qtbot):
    """The panel while a name is being typed."""
    widget.activateWindow()
    qtbot.waitUntil(widget.isActiveWindow, timeout=10_000)
    field = widget.panel.kinds.rows[4].name
    qtbot.mouseClick(field, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(field.hasFocus)
    qtbot.keyClicks(field, "stem")
    return widget


def test_a_name_that_is_being_typed_is_kept_when_the_project_is_closed(typing, model_viewer):
    project = typing.session.project
    typing.intents.close_project()
    assert typing.session.project is None
    assert "No project" not in typing.panel.guide.label.text()
    with Project.open(project.path, mode="r") as kept:
        assert kept.naming.names == {4: "stem"}


def test_a_name_that_is_being_typed_names_no_kind_of_the_next_model(typing):
    typing.session.reset_model()
    assert typing.session.names == {}


def test_names_stay_while_the_plane_shows_nothing_of_them(widget, qtbot):
    name(qtbot, widget, 4, "stem")
    predict(widget, np.uint8(1))
    assert rows(widget) == {1: ("", "100 %"), 4: ("stem", "0.0 %")}


def test_nothing_is_listed_once_it_is_forgotten(widget, qtbot, monkeypatch):
    name(qtbot, widget, 1, "sky")
    monkeypatch.setattr(widget.panel.project, "confirm_forgetting", lambda: True)
    widget.intents.reset_model()
    assert rows(widget) == {}
    assert widget.panel.kinds.isHidden()
    assert widget.session.names == {}


def test_a_name_that_is_being_typed_is_left_alone(qtbot):
    view = KindsView()
    view.show_kinds([Kind(1, "", (1, 2, 3, 255), 0.0004, 1)])
    field = begin_typing(qtbot, view, 1)
    view.show_kinds([Kind(1, "", (1, 2, 3, 255), 0.5, 1)])
    assert (field.text(), view.rows[1].share.text()) == ("nuc", "50 %")
    with qtbot.waitSignal(view.named) as named:
        qtbot.keyClick(field, Qt.Key.Key_Return)
    assert named.args == [1, "nuc"]
    assert not field.hasFocus()


def test_a_kind_whose_name_is_being_typed_stays_though_little_of_it_is_left(qtbot):
    kinds = [Kind(label, "", (1, 2, 3, 255), 0.5, label) for label in (1, 2, 3)]
    view = KindsView()
    view.show_kinds(kinds[:2])
    field = begin_typing(qtbot, view, 2)
    view.show_kinds([kinds[0], kinds[2]])
    assert [view._column.itemAt(i).widget() for i in (1, 2, 3)] == [
        view.rows[label] for label in (1, 2, 3)
    ]
    with qtbot.waitSignal(view.named) as named:
        qtbot.keyClick(field, Qt.Key.Key_Return)
    assert named.args == [2, "nuc"]
    view.show_kinds([kinds[0], kinds[2]])
    assert sorted(view.rows) == [1, 3]


def test_a_name_is_shown_as_it_was_taken_as_soon_as_it_is_typed(qtbot):
    view = KindsView()
    qtbot.addWidget(view)
    view.show()
    view.show_kinds([Kind(1, "", (1, 2, 3, 255), 0.5, 1)])
    view.named.connect(
        lambda label, text: view.show_kinds([Kind(label, text.strip(), (1, 2, 3, 255), 0.5, 1)])
    )
    view.activateWindow()
    qtbot.waitUntil(view.isActiveWindow, timeout=10_000)
    field = view.rows[1].name
    qtbot.mouseClick(field, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(field.hasFocus)
    qtbot.keyClicks(field, " nuc ")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert field.text() == "nuc"


def test_a_project_that_cannot_be_written_can_be_looked_at_only(qtbot):
    view = KindsView()
    qtbot.addWidget(view)
    view.show_kinds([Kind(1, "sky", (1, 2, 3, 255), 0.0004, 1)], writable=False)
    assert view.rows[1].name.isReadOnly()
    assert not view.rows[1].swatch.isEnabled()
    assert view.rows[1].share.text() == "< 0.1 %"
