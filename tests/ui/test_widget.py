"""The composed widget without a window: what it shows at once, and that it ends cleanly."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cas.config import ClusterSettings
from napari_cas.session import Message, NewImage, exporting, machine, projects
from napari_cas.store import Project
from napari_cas.store.export import export
from napari_cas.store.validate import validate
from napari_cas.ui import answers
from napari_cas.ui.widget import AnnotationWidget, open_panels


@pytest.fixture
def widget(qtbot, model_viewer):
    # A viewer model has all that the panel uses but the window's notification of themes.
    made = AnnotationWidget(model_viewer)
    qtbot.addWidget(made, before_close_func=lambda w: w.shut_down())
    return made


def test_an_empty_viewer_offers_nothing_to_choose(widget):
    start = widget.panel.start
    assert "try a sample" in widget.panel.guide.label.text()
    assert not start.start.isEnabled()
    assert start.choice.isHidden()
    assert start.axes.isHidden()
    assert widget.panel.train.progress.value() == 0


def test_the_panel_follows_the_layer_list(widget, model_viewer, own_home):
    model_viewer.add_image(np.zeros((6, 20, 20)), name="stack")
    start = widget.panel.start
    assert start.summary.text() == "stack"
    assert start.path.text() == str(own_home / "stack.zarr")
    assert not start.axes.isHidden()
    assert start.start.isEnabled()


def test_warnings_reach_the_guide_and_take_no_second_place(widget):
    widget.session.messaged.emit(Message("warning", "Disk full.", "Make room."))
    assert widget.panel.guide.label.text() == "Disk full. Make room."
    assert widget.panel.guide.property("level") == "warning"
    assert widget.panel.train.status.text() == ""


def test_the_cluster_used_last_is_looked_for_again(qtbot, model_viewer):
    machine.save(ClusterSettings(scheduler="tcp://gpu:8786", resources="nonsense"))
    made = AnnotationWidget(model_viewer)
    qtbot.addWidget(made, before_close_func=lambda w: w.shut_down())
    view = made.panel.machine
    assert view.lines["scheduler"].value == "tcp://gpu:8786"
    qtbot.waitUntil(lambda: "cannot be used" in view.state.text(), timeout=20_000)
    assert "NAME=NUMBER" in made.panel.guide.label.text()
    assert view.use.isEnabled()


def test_going_back_to_this_machine_is_remembered(widget, qtbot):
    machine.save(ClusterSettings(scheduler="tcp://gpu:8786"))
    view = widget.panel.machine
    view.show_cluster(ClusterSettings())
    qtbot.mouseClick(view.use, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "on this machine" in view.state.text(), timeout=20_000)
    assert machine.load() == ClusterSettings()


def test_shutting_down_twice_is_fine_and_gives_the_keys_back(widget, model_viewer):
    assert widget in open_panels()
    assert model_viewer.keymap
    widget.shut_down()
    widget.shut_down()
    assert widget not in open_panels()
    assert not model_viewer.keymap
    model_viewer.add_image(np.zeros((8, 8)))  # nobody listens any more


def test_a_panel_closed_in_a_window_that_goes_on_takes_its_layers_away(
    widget, model_viewer, tmp_path, ramp, monkeypatch
):
    widget.session.create_project(tmp_path / "p.zarr", [NewImage("a", ramp(40, 50), "yx")])
    entry, regions = widget.session.image, widget.layers.regions
    entry.regions[5:9, 5:9] = 1
    widget.layers.ensure_prediction()
    monkeypatch.setattr(widget, "_window", Shown())
    widget.shut_down()
    assert [layer.name for layer in model_viewer.layers] == ["a"]
    assert regions not in model_viewer.layers
    with Project.open(tmp_path / "p.zarr", mode="r") as project:
        assert project.image("a").regions.ids(()) == {1: 16}


def test_a_project_made_for_a_panel_that_is_closed_can_be_painted_in(
    widget, model_viewer, tmp_path, ramp, monkeypatch, qtbot
):
    may_go_on, real, made = threading.Event(), projects.create, []

    def slow(*arguments):
        assert may_go_on.wait(20)
        made.append(real(*arguments))
        return made[0]

    monkeypatch.setattr(projects, "create", slow)
    model_viewer.add_image(ramp(40, 50), name="a")
    widget.intents.start(str(tmp_path / "p.zarr"))
    widget.shut_down()
    may_go_on.set()
    qtbot.waitUntil(lambda: bool(made), timeout=20_000)
    qtbot.wait(100)
    with Project.open(tmp_path / "p.zarr") as project:
        assert project.images == ("a",)


@pytest.fixture
def unsaved(widget, tmp_path, ramp):
    """A project with a stroke that the disk will refuse."""
    widget.session.create_project(tmp_path / "p.zarr", [NewImage("a", ramp(40, 50), "yx")])
    widget.session.image.regions[5:9, 5:9] = 1
    (tmp_path / "p.zarr").rename(tmp_path / "moved.zarr")
    yield widget
    (tmp_path / "moved.zarr").rename(tmp_path / "p.zarr")


def test_a_project_that_cannot_be_saved_stays_open(unsaved, monkeypatch):
    told = []
    monkeypatch.setitem(answers._SHOW, "error", told.append)
    monkeypatch.setitem(answers._SHOW, "warning", told.append)
    unsaved.intents.close_project()
    assert unsaved.session.project is not None
    assert len(told) == 1
    assert "Could not write" in unsaved.panel.guide.label.text()


@pytest.mark.parametrize("window_stays", [True, False])
def test_a_panel_ends_where_strokes_cannot_be_saved(unsaved, monkeypatch, window_stays):
    told = []
    monkeypatch.setattr("napari_cas.ui.widget.show_error", told.append)
    monkeypatch.setattr(unsaved, "_window", Shown(visible=window_stays))
    unsaved.shut_down()
    assert len(told) == window_stays


class Shown:
    """A window that stays, or has gone."""

    def __init__(self, visible=True):
        self.visible = visible

    def isVisible(self):  # noqa: N802 - Qt's name
        return self.visible


def test_what_is_being_exported_is_written_before_the_window_ends_the_process(
    widget, tmp_path, ramp, monkeypatch
):
    def slowly(reading, target, **options):
        time.sleep(0.3)
        export(reading, target, **options)

    monkeypatch.setattr(exporting, "export", slowly)
    widget.session.create_project(tmp_path / "p.zarr", [NewImage("a", ramp(40, 50), "yx")])
    widget.intents.export(tmp_path / "out.zarr")
    monkeypatch.setattr(widget, "_window", Shown(visible=False))
    widget._shut_down_with_window()
    assert not list(validate(tmp_path / "out.zarr"))


SECOND_VIEWER = """
import sys, time
import napari
from qtpy.QtCore import QTimer
from napari_cas.session import exporting
from napari_cas.store.export import export
from napari_cas.ui.widget import AnnotationWidget

def slowly(reading, target, **options):
    time.sleep(4)
    export(reading, target, **options)

exporting.export = slowly
first, second = napari.Viewer(), napari.Viewer()
widget = AnnotationWidget(first)
first.window.add_dock_widget(widget)
widget.session.open_project(sys.argv[1])
begun = []

def close_first():
    widget.intents.export(sys.argv[2])
    first.close()
    begun.append(time.perf_counter())
    QTimer.singleShot(0, close_second)  # after what the first window's end has left to do

def close_second():
    print("held up for", time.perf_counter() - begun[0])
    second.close()

QTimer.singleShot(500, close_first)
napari.run()
"""


@pytest.mark.viewer
def test_an_export_holds_up_no_other_viewer_and_is_written_in_the_end(tmp_path, ramp):
    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image("a", ramp(40, 50), "yx")
    paths = [str(tmp_path / name) for name in ("p.zarr", "out.zarr")]
    command = [sys.executable, "-c", SECOND_VIEWER, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 2
    assert not list(validate(tmp_path / "out.zarr"))
