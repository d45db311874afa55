"""What the panel says, and for how long: the guide's problems and the status line's news."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt

from napari_cas.errors import StorageError, WorkerDiedError
from napari_cas.protocol import LossPoint, RoundReport, TilesReport
from napari_cas.session import Message, Progress, State
from napari_cas.store import Project


def guide(widget):
    return widget.panel.guide.label.text()


def status(widget):
    return widget.panel.train.status.text()


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
    infinite = np.full((40, 50), np.inf, np.float32)
    bad = model_viewer.add_image(infinite, name="bad", contrast_limits=(0, 1))
    qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "infinite" in guide(widget), timeout=20_000)
    model_viewer.layers.selection = list(model_viewer.layers)
    assert "infinite" not in guide(widget)
    qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "infinite" in guide(widget), timeout=20_000)
    assert guide(widget).startswith("bad: ")
    model_viewer.layers.remove(bad)
    assert guide(widget) == "Press Start annotating."


def test_where_nothing_can_be_painted_the_guide_says_so(widget, model_viewer, begin, qtbot, ramp):
    begin("one")
    painting = guide(widget)
    assert painting.startswith("Paint a stroke")
    model_viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: "2-D view" in guide(widget))
    for act in (widget.intents.accept_under_cursor, widget.intents.take_kind):
        widget.answers.show_news("")
        act()
        assert widget.panel.guide.property("level") == "warning"
    model_viewer.dims.ndisplay = 2
    qtbot.waitUntil(lambda: guide(widget) == painting)


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


def test_only_what_the_worker_does_is_said_to_wait_for_it(widget, begin):
    begin("one")
    for text, says in (("Exporting", "Exporting 0 of 3"), ("Predicting", "as soon as the worker")):
        widget.session.progressed.emit(Progress(0, 3, text))
        widget.answers.pace.flush()
        assert says in status(widget)


def test_predicting_a_view_is_not_called_fine_tuning(widget, begin, monkeypatch):
    begin("one")
    monkeypatch.setattr(widget.session._work, "_state", State.PREDICTING)
    widget.session.progressed.emit(Progress(0, 1, "Predicting"))
    widget.session.reported.emit(RoundReport("m", 7, (), 2, 3, (), converged=True))
    widget.answers.pace.flush()
    assert status(widget).startswith("Predicting")


def test_damage_is_still_said_when_the_project_has_opened(widget, begin, tmp_path, ramp):
    with Project.create(tmp_path / "damaged.zarr") as damaged:
        damaged.add_image("there", ramp(40, 50), "yx")
        damaged.add_image("gone", ramp(40, 50), "yx")
    (damaged.path / "images" / "gone" / "zarr.json").write_text("{")
    begin("one")
    widget.intents.open_project(damaged.path)
    assert widget.session.images == ("there",)
    assert "gone" in guide(widget)


def test_a_worker_that_died_is_spoken_of_until_another_has_gone_on(widget, begin):
    begin("one")
    before = guide(widget)
    died = Message.of(WorkerDiedError("The worker process died", todo="A new one is started."))
    full = Message.of(StorageError("The disk is full"))
    seen = RoundReport("m", 0, (), 0, 0, (), converged=True)
    tiles = TilesReport(())
    for signal, report in ((widget.session.reported, seen), (widget.session.tiled, tiles)):
        widget.session.messaged.emit(died)
        assert "died" in guide(widget)
        signal.emit(report)
        assert guide(widget) == before
    widget.session.messaged.emit(full)
    widget.session.reported.emit(seen)
    assert "full" in guide(widget)  # nothing of that has changed


def test_a_kind_is_taken_from_a_prediction_that_is_hidden_or_gone(widget, model_viewer, begin):
    begin("one")
    widget.intents.take_kind()
    assert guide(widget).startswith("Nothing is predicted yet")
    widget.session._work.use("m")
    with Project.open(widget.session.project.path, mode="worker") as worker:
        worker.image("one").prediction[...] = 3
    widget.layers.ensure_prediction()
    model_viewer.cursor.position = (400.0, 10.0)
    widget.intents.take_kind()
    assert guide(widget) == "Point at what is right, then press K."
    model_viewer.cursor.position = (10.0, 10.0)
    widget.layers.prediction.visible = False
    widget.intents.take_kind()
    assert model_viewer.layers.selection.active is widget.layers.prediction
    assert widget.layers.prediction.visible
    assert "press K." not in guide(widget)  # the warning has gone
    model_viewer.layers.remove(widget.layers.prediction)
    widget.intents.take_kind()
    assert model_viewer.layers.selection.active is widget.layers.prediction
    assert widget.layers.prediction.selected_label == 3
    model_viewer.layers.remove(widget.layers.prediction)
    widget.intents.accept_under_cursor()
    assert status(widget) == "Segment accepted as region 1."
