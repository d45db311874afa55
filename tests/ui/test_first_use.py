"""What a newcomer does with images of their own: the composed panel, layers and session."""

from __future__ import annotations

import threading

import numpy as np
from qtpy.QtCore import Qt

from napari_cas.session import State, copying, projects
from napari_cas.store import Project
from napari_cas.ui import reader


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


def test_a_setting_that_costs_what_was_learnt_says_so(widget, begin):
    begin("one")
    widget.session._work.checkpoint = "learnt"
    widget.panel.form.widgets["fit", "max_rounds"].value = 5
    assert "forgotten" not in guide(widget)
    widget.panel.form.widgets["model", "channels"].value = 12
    assert widget.session.checkpoint is None
    assert "what was learnt is forgotten" in guide(widget)


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


def test_a_project_closed_while_an_image_is_copied_is_left_alone(
    widget, model_viewer, begin, qtbot, monkeypatch
):
    begin("one")
    path, (may_go_on, real) = widget.session.project.path, (threading.Event(), projects.copying)

    def slow(*arguments):
        assert may_go_on.wait(20)
        return real(*arguments)

    monkeypatch.setattr(projects, "copying", slow)
    noise = np.random.default_rng(0).integers(0, 9, (3000, 3000), np.uint8)
    model_viewer.add_image(noise, name="two")
    qtbot.mouseClick(widget.panel.images.add, Qt.MouseButton.LeftButton)
    widget.intents.close_project()
    widget.intents.open_project(path)
    painting = guide(widget)
    may_go_on.set()
    qtbot.waitUntil(lambda: not widget.answers.adding, timeout=20_000)
    assert widget.session.images == ("one",)
    assert guide(widget) == painting
    assert [folder.name for folder in (path / "images").iterdir() if folder.is_dir()] == ["one"]


def test_regions_dragged_below_the_image_come_up_again(widget, model_viewer, begin):
    begin("one")
    painting = guide(widget)
    model_viewer.layers.move(1, 0)
    assert "lies over the regions" in guide(widget)
    widget.intents.new_region()
    assert shown(model_viewer) == ["one", "regions"]
    assert guide(widget) == painting


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


def test_images_of_several_channels_are_added_as_such(widget, model_viewer, qtbot):
    """As napari opens them: one layer a channel, the lowest translucent and the others additive."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 50), np.uint8)
    for stem in ("cell A", "cell B"):
        names = [f"{stem} {dye}" for dye in ("DAPI", "GFP", "RFP")]
        layers = model_viewer.add_image(pixels, channel_axis=0, name=names)
        model_viewer.layers.selection = set(layers)
        opened = widget.session.project is not None
        button = widget.panel.images.add if opened else widget.panel.start.start
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: widget.session.image is not None, timeout=20_000)
        qtbot.waitUntil(lambda: not widget.answers.adding, timeout=20_000)
    assert widget.session.images == ("cell A", "cell B")
    widget.session.select_image("cell B")
    assert widget.session.image.n_channels == 3
    assert all(layer.visible for layer in layers)
    assert not any(model_viewer.layers[f"cell A {dye}"].visible for dye in ("DAPI", "GFP", "RFP"))
