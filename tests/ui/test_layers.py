"""The adapter against a real viewer model and a real project."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, _layer_actions

from napari_cas.errors import RegionError
from napari_cas.protocol import Alike, Box, Tile
from napari_cas.session import merging
from napari_cas.ui.display import extra_layer
from napari_cas.ui.where import touched


@pytest.fixture
def flat(project, ramp):
    return project.add_image("flat", ramp(64, 80), "yx", scale=(0.5, 0.5))


@pytest.fixture
def stack(project, ramp):
    return project.add_image("stack", ramp(5, 40, 60), "zyx")


def heard(signal):
    calls = []
    signal.connect(lambda *args: calls.append(args))
    return calls


def test_showing_an_image_makes_the_brush_ready(adapter, model_viewer, flat):
    adapter.show(flat, predicted=False)
    assert [layer.name for layer in model_viewer.layers] == ["flat", "regions"]
    regions = model_viewer.layers["regions"]
    assert model_viewer.layers.selection.active is regions
    assert (str(regions.mode), regions.selected_label) == ("paint", 1)
    assert tuple(regions.scale) == (0.5, 0.5)


def test_nothing_is_taken_away_where_nothing_was_shown(adapter, model_viewer, flat):
    """At the end of a batch napari collects garbage, which is seen with many objects in memory."""
    ended = []
    model_viewer.layers.events.end_batch.connect(ended.append)
    adapter.show(flat, predicted=False)
    assert not ended
    adapter.show(None, predicted=False)
    assert len(ended) == 1


def test_the_annotators_own_layer_is_used_and_never_removed(adapter, model_viewer, flat, stack):
    own = model_viewer.add_image(np.zeros((64, 80), np.uint8), name="mine", scale=(0.5, 0.5))
    adapter.sight.own("flat", [own])
    adapter.show(flat, predicted=False)
    assert [layer.name for layer in model_viewer.layers] == ["mine", "regions"]
    adapter.show(stack, predicted=False)
    assert own in model_viewer.layers
    assert not own.visible
    adapter.show(flat, predicted=False)
    assert own.visible
    assert "stack" not in model_viewer.layers


def test_a_stroke_is_announced_once_and_undo_and_redo_too(adapter, flat):
    adapter.show(flat, predicted=False)
    painted = heard(adapter.painted)
    adapter.painted.connect(flat.flush)
    with adapter.regions.block_history():
        adapter.regions.paint((10, 10), 1)
        adapter.regions.paint((10, 14), 1)
    assert len(painted) == 1
    assert not flat.regions.dirty
    before = flat.regions.ids(())[1]
    adapter.regions.undo()
    assert len(painted) == 2
    assert flat.regions.ids(()) == {}
    adapter.regions.redo()
    assert flat.regions.ids(()) == {1: before}
    assert not flat.regions.dirty


def test_a_correction_tells_plane_and_box(adapter, stack):
    adapter.show(stack, predicted=True)
    corrected = heard(adapter.corrected)
    adapter.prediction.paint((2, 20, 30), 3)
    ((plane, box, fresh),) = corrected
    assert plane == (2,)
    assert fresh.shape == box.shape
    assert fresh[20 - box.y0, 30 - box.x0]
    assert box.y0 <= 20 < box.y1
    assert box.x0 <= 30 < box.x1
    assert stack.corrections[2, 20, 30] == 4


def test_the_prediction_comes_without_touching_what_is_active(adapter, model_viewer, flat):
    adapter.show(flat, predicted=False)
    adapter.regions.mode = "fill"
    adapter.refresh(Tile("flat", (), Box(0, 0, 64, 80)))
    assert [layer.name for layer in model_viewer.layers] == ["flat", "prediction", "regions"]
    assert model_viewer.layers.selection.active is adapter.regions
    assert set(model_viewer.layers.selection) == {adapter.regions}
    assert str(adapter.regions.mode) == "fill"


def test_refreshing_redraws_the_same_layer_only_where_it_is_shown(adapter, model_viewer, stack):
    adapter.show(stack, predicted=True)
    layer = adapter.prediction
    model_viewer.dims.set_current_step(0, 3)
    redrawn = []
    layer.events.set_data.connect(lambda _: redrawn.append(1))
    adapter.refresh(Tile("stack", (1,), Box(0, 0, 40, 60)))
    adapter.refresh(Tile("other", (3,), Box(0, 0, 40, 60)))
    assert not redrawn
    adapter.refresh(Tile("stack", (3,), Box(0, 0, 40, 60)))
    assert len(redrawn) == 1
    assert adapter.prediction is layer


def test_what_the_annotator_chose_survives_another_image(adapter, flat, stack):
    adapter.show(flat, predicted=True)
    adapter.regions.brush_size = 23
    adapter.regions.opacity = 0.4
    adapter.regions.mode = "polygon"
    adapter.prediction.visible = False
    adapter.show(stack, predicted=True)
    assert adapter.regions.brush_size == 23
    assert adapter.regions.opacity == 0.4
    assert str(adapter.regions.mode) == "polygon"
    assert not adapter.prediction.visible


def test_the_brush_holds_the_region_it_held_on_an_image(adapter, flat, stack):
    adapter.show(flat, predicted=False)
    adapter.choose_region(4)
    adapter.regions.paint((10, 10), 4)
    adapter.show(stack, predicted=False)
    assert adapter.regions.selected_label == 1  # bare
    adapter.regions.selected_label = 0
    adapter.show(flat, predicted=False)
    assert adapter.regions.selected_label == 4
    adapter.show(None, predicted=False)
    adapter.show(flat, predicted=False)  # opened again: no region is joined unasked
    assert adapter.regions.selected_label == 5


def test_the_usual_brush_is_that_of_each_image(adapter, flat, project, ramp):
    adapter.show(flat, predicted=False)
    usual = adapter.regions.brush_size
    adapter.show(project.add_image("large", ramp(600, 900), "yx"), predicted=False)
    assert adapter.regions.brush_size == 10 > usual
    adapter.show(flat, predicted=False)
    assert adapter.regions.brush_size == usual


def test_a_result_with_an_axis_of_its_own_leaves_the_view_alone(adapter, model_viewer, flat, ramp):
    """Napari fits all layers when there are more axes or fewer, hidden ones of other sizes too."""
    model_viewer.add_image(ramp(300, 200), visible=False)
    adapter.show(flat, predicted=False)
    camera = getattr(model_viewer, "scene", model_viewer).camera
    camera.center, camera.zoom = (0, 10, 12), 7
    before = camera.center, camera.zoom
    layer = extra_layer("probabilities", np.zeros((3, 64, 80), np.float32), flat)
    adapter.insert(layer)
    assert (camera.center, camera.zoom) == before
    adapter.remove(layer)
    assert (camera.center, camera.zoom) == before
    adapter.insert(layer)
    adapter.show(flat, predicted=False)
    assert model_viewer.dims.ndim == 2
    assert (camera.center, camera.zoom) == before


def test_undo_never_reaches_into_another_image(adapter, project, flat, ramp):
    other = project.add_image("other", ramp(64, 80), "yx")
    adapter.show(flat, predicted=False)
    adapter.regions.paint((10, 10), 1)
    adapter.show(other, predicted=False)
    adapter.regions.undo()
    assert flat.regions.ids(()) != {}
    assert other.regions.ids(()) == {}


def test_deleted_layers_do_no_harm_and_come_back(adapter, model_viewer, flat):
    adapter.show(flat, predicted=True)
    model_viewer.layers.remove(adapter.regions)
    model_viewer.layers.remove(adapter.prediction)
    assert adapter.regions is None
    adapter.refresh_regions()
    adapter.refresh(Tile("flat", (), Box(0, 0, 64, 80)))
    assert adapter.prediction is not None
    adapter.choose_region(4)
    assert adapter.regions.selected_label == 4
    model_viewer.layers.clear()
    assert adapter.view() is None
    adapter.show(None, predicted=False)
    assert len(model_viewer.layers) == 0


def test_taking_ours_away_leaves_the_annotators_layers(adapter, model_viewer, flat):
    notes = model_viewer.add_points(np.zeros((1, 2)), name="notes")
    adapter.show(flat, predicted=True)
    adapter.insert(Image(np.zeros((64, 80)), name="uncertainty"))
    adapter.show(None, predicted=False)
    assert list(model_viewer.layers) == [notes]


def test_view_and_plane(adapter, model_viewer, stack):
    adapter.show(stack, predicted=False)
    model_viewer.dims.set_current_step(0, 4)
    assert adapter.view() == ((4,), Box(0, 0, 40, 60))
    model_viewer.dims.ndisplay = 3
    assert adapter.view() is None


def test_under_the_cursor(adapter, model_viewer, flat):
    adapter.show(flat, predicted=True)
    adapter.prediction.paint((10, 12), 5)
    model_viewer.cursor.position = (5.0, 6.0)  # half a micrometre a pixel
    assert adapter.under_cursor() == (5, (10, 12))
    adapter.prediction.visible = False
    assert adapter.under_cursor() == (5, (10, 12))
    for nothing in ((30.0, 30.0), (-5.0, 6.0), (5.0, 60.0)):
        model_viewer.cursor.position = nothing
        assert adapter.under_cursor() is None


def test_under_the_cursor_in_a_stack(adapter, model_viewer, stack):
    adapter.show(stack, predicted=True)
    stack.prediction_view[3, 10, 12] = 7
    adapter.prediction.visible = False
    model_viewer.cursor.position = (0.0, 10.2, 11.8)
    assert adapter.under_cursor() is None
    model_viewer.dims.set_current_step(0, 3)  # by a key: the mouse is still
    assert adapter.under_cursor() == (7, (10, 12))


def test_chosen_images(adapter, model_viewer):
    assert adapter.chosen() == []
    one = model_viewer.add_image(np.zeros((8, 8)))
    model_viewer.layers.selection.clear()
    assert adapter.chosen() == [one]
    two = model_viewer.add_image(np.zeros((8, 8)))
    assert adapter.chosen() == [two]
    model_viewer.layers.selection = {one, two}
    assert adapter.chosen() == [one, two]


def test_read_only_projects_cannot_be_painted(adapter, flat):
    adapter.show(flat, predicted=False, writable=False)
    assert not adapter.regions.editable


def test_the_brush_comes_back_after_a_project_that_could_not_be_painted(adapter, flat):
    """napari takes the tool away from a layer that cannot be edited."""
    adapter.show(flat, predicted=False, writable=False)
    assert str(adapter.regions.mode) == "pan_zoom"
    adapter.show(None, predicted=False)
    adapter.show(flat, predicted=False)
    assert str(adapter.regions.mode) == "paint"
    adapter.regions.mode = "erase"  # what the annotator took is kept
    adapter.show(None, predicted=False)
    adapter.show(flat, predicted=False)
    assert str(adapter.regions.mode) == "erase"


def test_touched_boxes_of_old_and_new_history():
    indices = (np.array([1, 1]), np.array([4, 9]), np.array([7, 3]))
    slices = (slice(1, 2), slice(0, 5), slice(6, 8))
    assert touched([(indices, None, 1)]) == [((1,), Box(4, 3, 10, 8))]
    assert touched([(indices, None, 1), (slices, None, None, 1)]) == [((1,), Box(0, 3, 10, 8))]
    assert touched([(tuple(np.array([], int) for _ in range(2)), None, 1)]) == []


def test_layers_have_the_images_units_or_napari_leaves_them_all_out(
    adapter, model_viewer, project, ramp
):
    pixels = ramp(5, 40, 60)
    own = model_viewer.add_image(pixels, name="own", units=("um", "um", "um"))
    units = [str(unit) for unit in own.units]
    entry = project.add_image("own", pixels, "zyx", scale=(1, 0.2, 0.2), units=units)
    odd = project.add_image("odd", pixels, "zyx", units=("made up", None, "mm"))
    adapter.sight.own("own", [own])
    adapter.show(entry, predicted=True)
    adapter.insert(extra_layer("uncertainty", np.zeros((5, 40, 60)), entry))
    adapter.insert(extra_layer("probabilities", np.zeros((2, 5, 40, 60)), entry))
    assert len(model_viewer.layers) == 5
    assert all(layer.units[-3:] == own.units for layer in model_viewer.layers)
    adapter.show(odd, predicted=False)
    assert [str(unit) for unit in adapter.regions.units] == ["pixel", "pixel", "millimeter"]
    assert adapter.regions.units == model_viewer.layers["odd"].units


def test_without_the_panel_nothing_can_be_painted_that_nobody_would_save(adapter, flat):
    adapter.show(flat, predicted=True)
    regions, prediction = adapter.regions, adapter.prediction
    adapter.close()
    assert (regions.editable, str(regions.mode)) == (False, "pan_zoom")
    assert not prediction.editable


def test_what_was_accepted_in_a_stack_is_undone_on_its_plane(adapter, stack):
    adapter.show(stack, predicted=False)
    with adapter.undoable([((2,), Box(10, 20, 30, 50))]):
        stack.regions[2, 12:14, 22:24] = 7
    adapter.regions.undo()
    assert stack.regions.ids((2,)) == {}
    adapter.regions.redo()
    assert stack.regions.ids((2,)) == {7: 4}


@pytest.mark.parametrize("role", ["regions", "prediction"])
def test_another_array_in_a_layer_of_the_project_is_refused(adapter, flat, role):
    adapter.show(flat, predicted=True)
    layer = getattr(adapter, role)
    held = layer.data
    with pytest.raises(RegionError, match="shows what the project keeps"):
        layer.data = np.ones(held.shape, int)
    assert type(layer.data) is type(held)
    layer.paint((20, 30), 3)
    assert (flat.regions if role == "regions" else flat.corrections)[20, 30]


def test_types_of_the_projects_layers_are_not_converted(adapter, model_viewer, flat):
    adapter.show(flat, predicted=False)
    with pytest.raises(RegionError, match="keep their type: expected int32, got uint8"):
        _layer_actions._convert_dtype(model_viewer.layers, "uint8")
    adapter.regions.paint((20, 30), 3)
    assert flat.regions[20, 30] == 3


def test_what_was_merged_on_several_planes_is_undone_at_once(adapter, stack):
    stack.regions[0, 2:4, 2:4] = 5
    stack.regions[2, 12:14, 22:24] = 7
    adapter.show(stack, predicted=False)
    groups = [Alike("stack", (0,), (1, 5)), Alike("stack", (2,), (3, 7))]
    with adapter.undoable(merging.places(stack, groups)):
        for group in groups:
            merging.merge(stack, group)
    assert (stack.regions.ids((0,)), stack.regions.ids((2,))) == ({1: 4}, {3: 4})
    adapter.regions.undo()
    assert (stack.regions.ids((0,)), stack.regions.ids((2,))) == ({5: 4}, {7: 4})
    adapter.regions.redo()
    assert (stack.regions.ids((0,)), stack.regions.ids((2,))) == ({1: 4}, {3: 4})


def test_a_label_below_zero_becomes_the_eraser(adapter, flat):
    """napari's spin box offers all that the type holds; a stroke of -3 would end in an error."""
    adapter.show(flat, predicted=False)
    adapter.regions.selected_label = -3
    assert adapter.regions.selected_label == 0
    adapter.regions.paint((5, 5), adapter.regions.selected_label)
    assert flat.regions.ids(()) == {}
