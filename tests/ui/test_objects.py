"""Objects come as a layer of the annotator's own, at any size, and only of the image shown."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import numpy as np
import pytest

from napari_cas.session import objects
from napari_cas.store import LabelArray, Project
from napari_cas.ui.widget import AnnotationWidget

LABELS = np.zeros((3, 300, 600), np.uint8)
LABELS[1, 10:40, 300:330] = 1
LABELS[:2, 200:220, 20:50] = 2


class NoWorker:
    """Never answers: nothing here needs a worker."""

    slots = 1
    awaited = ()

    def submit(self, *_):
        return Future()

    def shutdown(self):
        pass


@pytest.fixture
def widget(qtbot, model_viewer, tmp_path, ramp):
    """A panel on a project of two images, the first with a prediction."""
    with Project.create(tmp_path / "p.zarr") as project:
        for name in ("stack", "other"):
            project.add_image(name, ramp(*LABELS.shape), "zyx")
    with Project.open(tmp_path / "p.zarr", mode="worker") as project:
        project.image("stack").prediction[...] = LABELS
        project.image("stack").flush()
    made = AnnotationWidget(model_viewer, executor=NoWorker())
    qtbot.addWidget(made, before_close_func=lambda w: w.shut_down())
    made.session.open_project(tmp_path / "p.zarr")
    return made


def split(widget, qtbot):
    widget.intents.splitting.split()
    qtbot.waitUntil(lambda: widget.panel.train.status.text()[:1].isdigit(), timeout=20_000)


def test_objects_found_before_are_hidden_and_kept(widget, qtbot, model_viewer):
    split(widget, qtbot)
    older = model_viewer.layers["stack objects"]
    older.data[1, 100, 100] = 7
    widget.answers.show_news("")
    split(widget, qtbot)
    newer = model_viewer.layers["stack objects [1]"]
    assert (older.visible, newer.visible) == (False, True)
    assert older.data[1, 100, 100] == 7


@pytest.mark.parametrize("held", [0, objects.HELD_BYTES])
def test_objects_are_counted_shown_and_can_be_painted(
    widget, qtbot, model_viewer, monkeypatch, held
):
    monkeypatch.setattr(objects, "HELD_BYTES", held)
    split(widget, qtbot)
    assert widget.panel.train.status.text() == (
        "2 objects on the 36 % of the image that is predicted. "
        "For the rest, press Predict all and split again."
    )
    layer = model_viewer.layers["stack objects"]
    assert isinstance(layer.data, LabelArray) == (held == 0)
    assert np.array_equal(np.asarray(layer.data), LABELS)
    assert layer.visible
    assert layer.scale.tolist() == [1, 1, 1]
    layer.brush_size = 3
    layer.selected_label = 7
    layer.paint((1, 100, 100), 7)
    assert layer.data[1, 100, 100] == 7
    layer.undo()
    assert np.array_equal(np.asarray(layer.data), LABELS)


def test_objects_of_a_whole_prediction_are_not_said_to_be_of_a_part(widget, qtbot):
    with Project.open(widget.session.project.path, mode="worker") as project:
        project.image("other").prediction[...] = 1
    widget.session.select_image("other")
    split(widget, qtbot)
    assert widget.panel.train.status.text() == (
        "1 object, in a new Labels layer. "
        "To split one label only, pick it in the prediction layer first."
    )


def test_objects_of_one_label_are_split_where_it_is_picked(widget, qtbot, model_viewer):
    widget.session._work.checkpoint = "learnt"
    widget.layers.ensure_prediction()
    model_viewer.layers.selection.active = widget.layers.prediction
    widget.layers.prediction.selected_label = 2
    split(widget, qtbot)
    layer = model_viewer.layers["stack objects of label 2"]
    assert np.array_equal(np.asarray(layer.data) > 0, LABELS == 2)
    assert widget.panel.train.status.text().startswith("1 object of label 2 ")


def test_objects_of_huge_planes_have_levels(widget, qtbot, model_viewer, monkeypatch):
    monkeypatch.setattr(objects, "WHOLE_LIMIT", 500)
    monkeypatch.setattr(objects, "_COARSEST", 200)
    split(widget, qtbot)
    layer = model_viewer.layers["stack objects"]
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(3, 300, 600), (3, 150, 300), (3, 75, 150)]
    layer.data_level = 2
    model_viewer.dims.set_current_step(0, 1)
    assert set(np.unique(layer._slice.image.raw)) == {0, 1, 2}


def test_objects_of_an_image_that_is_left_are_not_laid_over_another(
    widget, qtbot, model_viewer, monkeypatch
):
    may_go_on, real = threading.Event(), objects.split

    def slow(*arguments, **options):
        assert may_go_on.wait(20)
        return real(*arguments, **options)

    monkeypatch.setattr(objects, "split", slow)
    widget.intents.splitting.split()
    widget.intents.splitting.split()
    assert "Still splitting" in widget.panel.train.status.text()
    widget.session.select_image("other")
    may_go_on.set()
    qtbot.waitUntil(lambda: "Go back to stack" in widget.panel.train.status.text(), timeout=20_000)
    assert not [layer for layer in model_viewer.layers if "objects" in layer.name]
    widget.session.select_image("stack")
    split(widget, qtbot)
    assert "stack objects" in model_viewer.layers
