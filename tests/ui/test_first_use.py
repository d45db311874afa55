"""What a newcomer does with images of their own: the composed panel, layers and session."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cas.protocol import LossPoint, RoundReport
from napari_cas.session import Message, Progress, State, copying, projects
from napari_cas.store import Project
from napari_cas.ui import reader
from napari_cas.ui.widget import AnnotationWidget


@pytest.fixture
def widget(qtbot, model_viewer, monkeypatch):
    made = AnnotationWidget(model_viewer)
    monkeypatch.setattr(made.session, "warm_up", lambda: None)  # nothing is learnt here
    qtbot.addWidget(made, before_close_func=lambda w: w.shut_down())
    return made


@pytest.fixture
def begin(widget, model_viewer, qtbot, ramp):
    """Open images under these names and start annotating some of them."""

    def start(*names, chosen=None):
        for name in names:
            model_viewer.add_image(ramp(40, 50), name=name)
        model_viewer.layers.selection = [model_viewer.layers[n] for n in chosen or names]
        qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: widget.session.image is not None, timeout=20_000)

    return start


def shown(viewer):
    return [layer.name for layer in viewer.layers if layer.visible]


def test_a_folder_that_is_no_project_changes_nothing(widget, model_viewer, begin, tmp_path):
    begin("one", "two")
    widget.intents.open_project(tmp_path)
    assert "is not a project" in widget.panel.guide.label.text()
    widget.intents.next_image()
    assert shown(model_viewer) == ["two", "regions"]
    assert len(model_viewer.layers) == 3


def test_another_project_from_the_menu_takes_its_own_layers(widget, model_viewer, begin, qtbot):
    begin("one", "two")
    model_viewer.layers.selection = [model_viewer.layers["two"]]
    widget.intents.start()
    qtbot.waitUntil(lambda: widget.session.images == ("two",), timeout=20_000)
    # Not copied into a layer of ours; the other one is the annotator's again, and below.
    assert shown(model_viewer) == ["one", "two", "regions"]


def guide(widget):
    return widget.panel.guide.label.text()


def status(widget):
    return widget.panel.train.status.text()


def test_a_long_copy_says_how_far_it_is(widget, model_viewer, monkeypatch, qtbot):
    monkeypatch.setattr(copying, "INTERVAL", 0)
    said = []
    widget.session.progressed.connect(lambda _: said.append(guide(widget)))
    model_viewer.add_image(np.arange(5000 * 3000, dtype=np.uint16).reshape(5000, 3000), name="wide")
    qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.image is not None, timeout=20_000)
    assert any(text.endswith(" %") for text in said)
    assert not guide(widget).startswith("Copying")


def test_a_warning_goes_when_its_reason_has_gone(widget, model_viewer, begin, qtbot, ramp):
    begin("one")
    qtbot.mouseClick(widget.panel.images.add, Qt.MouseButton.LeftButton)
    warning = "Select image layers that are not in the project yet."
    assert guide(widget) == warning
    for name in ("two", "three"):
        model_viewer.add_image(ramp(40, 50), name=name)
    model_viewer.layers.selection = [model_viewer.layers[n] for n in ("two", "three")]
    qtbot.mouseClick(widget.panel.images.add, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: status(widget) == "2 images added.", timeout=20_000)
    assert widget.session.images == ("one", "two", "three")
    assert guide(widget).startswith("Paint a stroke")


def test_what_is_wrong_with_one_image_is_not_said_of_the_next(widget, model_viewer, qtbot, ramp):
    model_viewer.add_image(ramp(40, 50), name="good")
    flat = model_viewer.add_image(ramp(40, 50) * 0 + 7, name="flat")
    qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "constant" in guide(widget), timeout=20_000)
    model_viewer.layers.selection = list(model_viewer.layers)
    assert "constant" not in guide(widget)
    qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "constant" in guide(widget), timeout=20_000)
    assert guide(widget).startswith("flat: ")
    model_viewer.layers.remove(flat)
    assert guide(widget) == "Press Start annotating."


def test_a_setting_that_costs_what_was_learnt_says_so(widget, begin):
    begin("one")
    widget.session._work.checkpoint = "learnt"
    widget.panel.form.widgets["fit", "max_rounds"].value = 5
    assert "forgotten" not in guide(widget)
    widget.panel.form.widgets["model", "channels"].value = 12
    assert widget.session.checkpoint is None
    assert "what was learnt is forgotten" in guide(widget)


def test_where_nothing_can_be_painted_the_guide_says_so(widget, model_viewer, begin, qtbot, ramp):
    begin("one")
    painting = guide(widget)
    assert painting.startswith("Paint a stroke")
    model_viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: "2-D view" in guide(widget))
    widget.intents.accept_under_cursor()
    assert widget.panel.guide.property("level") == "warning"
    model_viewer.dims.ndisplay = 2
    qtbot.waitUntil(lambda: guide(widget) == painting)


def test_the_brush_is_asked_for_when_it_is_not_in_the_hand(widget, model_viewer, begin):
    begin("one")
    regions = widget.layers.regions
    assert guide(widget).startswith("Paint a stroke")
    model_viewer.layers.selection.active = model_viewer.layers["one"]
    assert guide(widget).startswith("Press N for the brush")
    model_viewer.layers.selection.active = regions
    assert guide(widget).startswith("Paint a stroke")
    regions.visible = False  # takes the brush away
    assert guide(widget).startswith("Press N for the brush")
    widget.intents.new_region()
    assert regions.visible
    assert str(regions.mode) == "paint"
    assert guide(widget).startswith("Paint a stroke")


def test_keys_before_there_is_an_image_change_nothing(widget, model_viewer):
    before = guide(widget)
    for pressed in widget.keys.table.values():
        pressed()
    assert guide(widget) == before
    assert not model_viewer.layers


def test_no_prediction_is_shown_before_there_is_anything_to_learn_from(widget, model_viewer, begin):
    begin("one")
    widget.intents.fine_tune()
    assert shown(model_viewer) == ["one", "regions"]


def test_the_axes_of_a_stack_without_names_are_to_be_looked_at(widget, model_viewer, ramp):
    stack = model_viewer.add_image(ramp(4, 40, 50), name="stack")
    assert guide(widget).startswith("Check the axes")
    stack.axis_labels = ("z", "y", "x")
    model_viewer.add_image(ramp(40, 50), name="flat")
    assert guide(widget).startswith("Press Start")


def test_the_status_beside_a_warning_is_that_of_the_moment(widget, begin, monkeypatch):
    begin("one")
    monkeypatch.setattr(widget.session._work, "_state", State.WARMING)
    widget.intents.fine_tune()
    assert "Nothing is painted" in guide(widget)
    assert status(widget) == "Starting the worker…"


def test_after_a_warning_in_mid_training_the_status_says_how_it_ended(widget, begin):
    begin("one")
    session = widget.session
    session.messaged.emit(Message("warning", "One region shows two kinds."))
    losses = (LossPoint(7, 0.5, 0.4, 0.1),)
    session._work.reports.append(RoundReport("m", 7, losses, 2, 3, (), converged=True))
    widget.panel.train.show_status("Predicting…")
    session.state_changed.emit(State.READY)
    assert status(widget).startswith("Converged after 7 steps: 3 regions")
    assert guide(widget) == "One region shows two kinds."
    session.messaged.emit(Message("error", "The worker has gone."))
    session.state_changed.emit(State.READY)
    assert guide(widget) == "The worker has gone."
    assert status(widget).startswith("Converged")


def test_news_can_be_read_until_the_annotator_goes_on(widget, begin, monkeypatch):
    begin("one")
    widget.session.messaged.emit(Message("info", "2 % of the values are no data."))
    for state in (State.WARMING, State.READY):
        monkeypatch.setattr(widget.session._work, "_state", state)
        widget.session.state_changed.emit(state)
        assert status(widget) == "2 % of the values are no data."
    widget.session.messaged.emit(Message("info", "Image 'a' is called 'b'."))
    assert status(widget) == "2 % of the values are no data. Image 'a' is called 'b'."
    widget.intents.stroke_finished()
    assert status(widget) == ""


def test_news_does_not_hide_how_training_ended(widget, begin, monkeypatch):
    begin("one")
    work = widget.session._work
    widget.session.messaged.emit(Message("info", "Exported to there."))
    report = RoundReport("m", 7, (LossPoint(7, 0.5, 0.4, 0.1),), 2, 3, (), converged=True)
    work.reports.append(report)
    monkeypatch.setattr(work, "_state", State.TRAINING)
    widget.session.reported.emit(report)
    monkeypatch.setattr(work, "_state", State.READY)
    widget.session.state_changed.emit(State.READY)
    assert status(widget).startswith("Converged")


def test_an_export_that_failed_is_not_said_to_go_on(widget, begin):
    begin("one")
    widget.session.progressed.emit(Progress(1, 3, "Exporting"))
    widget.answers.pace.flush()
    assert status(widget) == "Exporting 1 of 3"
    widget.session.messaged.emit(Message("error", "It exists already."))
    assert (guide(widget), status(widget)) == ("It exists already.", "")


def test_damage_is_still_said_when_the_project_has_opened(widget, begin, tmp_path, ramp):
    with Project.create(tmp_path / "damaged.zarr") as damaged:
        damaged.add_image("there", ramp(40, 50), "yx")
        damaged.add_image("gone", ramp(40, 50), "yx")
    (damaged.path / "images" / "gone" / "zarr.json").write_text("{")
    begin("one")
    widget.intents.open_project(damaged.path)
    assert widget.session.images == ("there",)
    assert "gone" in guide(widget)


def test_predicting_is_not_called_learning_and_gives_way_to_it(widget, begin, monkeypatch):
    begin("one")
    monkeypatch.setattr(widget.session._work, "_state", State.PREDICTING)
    widget.answers.refresh()
    assert "Learning" not in guide(widget)
    assert widget.panel.train.cancel.isEnabled()
    assert widget.panel.train.run.isEnabled()
    monkeypatch.setattr(widget.session._work, "_state", State.TRAINING)
    widget.answers.refresh()
    assert not widget.panel.train.run.isEnabled()


def test_an_image_layer_that_was_deleted_comes_back(widget, model_viewer, begin):
    begin("one")
    painting = guide(widget)
    model_viewer.layers.remove("one")
    assert "press N to bring it back" in guide(widget)
    widget.intents.new_region()
    assert shown(model_viewer) == ["one", "regions"]
    assert model_viewer.layers.selection.active is widget.layers.regions
    assert guide(widget) == painting


def test_an_image_dropped_on_the_one_painted_is_added_or_hidden(
    widget, model_viewer, begin, qtbot, ramp
):
    begin("one")
    painting = guide(widget)
    dropped = model_viewer.add_image(ramp(40, 50), name="dropped")  # on top, and selected
    assert "Add takes it into the project" in guide(widget)
    widget.intents.new_region()
    assert not dropped.visible  # else strokes would be painted beneath it, out of sight
    assert guide(widget) == painting
    dropped.visible = True
    model_viewer.layers.selection = [dropped]
    assert "Add takes it into the project" in guide(widget)
    qtbot.mouseClick(widget.panel.images.add, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.image.name == "dropped", timeout=20_000)
    assert shown(model_viewer) == ["dropped", "regions"]
    assert guide(widget) == painting
    widget.intents.close_project()
    assert shown(model_viewer) == ["one", "dropped"]


def test_an_image_that_was_removed_can_be_added_again(
    widget, model_viewer, begin, qtbot, monkeypatch
):
    begin("one", "two", chosen=["one"])
    model_viewer.layers.selection = [model_viewer.layers["two"]]
    qtbot.mouseClick(widget.panel.images.add, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.image.name == "two", timeout=20_000)
    monkeypatch.setattr(widget.panel.project, "confirm_removal", lambda name: name == "two")
    widget.panel.project.remove_image_requested.emit()
    assert widget.session.images == ("one",)
    assert status(widget) == "Image 'two' is no longer in the project."
    assert shown(model_viewer) == ["one", "regions"]
    model_viewer.layers.selection = [model_viewer.layers["two"]]
    qtbot.mouseClick(widget.panel.images.add, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.image.name == "two", timeout=20_000)
    assert shown(model_viewer) == ["two", "regions"]


def test_pressed_twice_is_added_once(widget, model_viewer, begin, qtbot, ramp, monkeypatch):
    begin("one")
    model_viewer.add_image(ramp(40, 50), name="two")
    may_go_on, real = threading.Event(), projects.add_images

    def slow(*arguments):
        assert may_go_on.wait(20)
        return real(*arguments)

    monkeypatch.setattr(projects, "add_images", slow)
    for _ in range(2):
        qtbot.mouseClick(widget.panel.images.add, Qt.MouseButton.LeftButton)
    may_go_on.set()
    qtbot.waitUntil(lambda: not widget.answers.adding, timeout=20_000)
    qtbot.wait(300)
    assert widget.session.images == ("one", "two")
    assert guide(widget).startswith("Paint a stroke")


def test_no_brush_is_spoken_of_where_the_regions_stayed_hidden(widget, model_viewer, begin):
    begin("one")
    path = widget.session.project.path
    widget.layers.regions.visible = False
    widget.intents.close_project()
    widget.intents.open_project(path)
    assert not widget.layers.regions.visible  # the annotator's word
    assert guide(widget).startswith("Press N for the brush")
    widget.intents.new_region()
    assert guide(widget).startswith("Paint a stroke")


def test_predict_all_can_be_asked_for_while_something_is_predicted_unasked(
    widget, begin, monkeypatch
):
    begin("one")
    work, button = widget.session._work, widget.panel.results.predict_all
    work.checkpoint = "learnt"
    enabled = {}
    for state in (State.READY, State.TRAINING, State.PREDICTING):
        for due in (False, True):
            monkeypatch.setattr(work, "_state", state)
            work.all_due = due
            widget.answers.refresh()
            enabled[state, due] = button.isEnabled()
    assert [key for key, on in enabled.items() if not on] == [
        (State.TRAINING, False),
        (State.TRAINING, True),
        (State.PREDICTING, True),
    ]


def test_a_prediction_layer_that_was_deleted_comes_back(widget, model_viewer, begin, monkeypatch):
    begin("one")
    widget.session._work.checkpoint = "learnt"
    monkeypatch.setattr(widget.session, "predict_all", lambda: None)  # all of it is predicted
    widget.layers.ensure_prediction()
    widget.answers.refresh()
    before = guide(widget)
    model_viewer.layers.remove("prediction")
    assert "Predict all brings it back" in guide(widget)
    widget.intents.predict_all()
    assert shown(model_viewer) == ["one", "prediction", "regions"]
    assert guide(widget) == before


def test_a_project_dropped_on_the_viewer_opens_in_its_panel(
    widget, model_viewer, begin, monkeypatch, tmp_path, ramp
):
    begin("one")
    with Project.create(tmp_path / "other.zarr") as other:
        other.add_image("there", ramp(40, 50), "yx")
        path = str(other.path)
    monkeypatch.setattr("napari.current_viewer", lambda: model_viewer)
    assert reader.get_reader(path)(path) == [(None,)]  # no layers beside those of the panel
    assert widget.session.images == ("there",)
    assert shown(model_viewer) == ["there", "regions"]
    monkeypatch.setattr("napari.current_viewer", lambda: None)
    assert len(reader.get_reader(path)(path)) == 3
