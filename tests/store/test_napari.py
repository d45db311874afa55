"""napari's own Labels layer paints into the store's arrays as it does into NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cas.protocol import Box
from napari_cas.store import PredictionView, Project, Window

labels_module = pytest.importorskip("napari.layers", reason="napari is not installed")


@pytest.fixture
def layer_pair(make_labels):
    """The same strokes go into a layer on our array and into one on a NumPy array."""

    def make(shape=(600, 700), **options):
        ours = make_labels(shape)
        layers = [
            labels_module.Labels(ours, **options),
            labels_module.Labels(np.zeros(shape, np.int32), **options),
        ]
        assert layers[0].editable
        assert not layers[0].multiscale
        assert layers[0].data is ours
        return layers, ours

    return make


def _same(layers):
    ours, theirs = layers
    np.testing.assert_array_equal(np.asarray(ours.data), theirs.data)
    np.testing.assert_array_equal(ours._slice.image.raw, theirs._slice.image.raw)
    np.testing.assert_array_equal(ours._slice.image.view, theirs._slice.image.view)


def _brush(layer, start, stop, label, size=15):
    layer.brush_size = size
    layer.selected_label = label
    layer.mode = "paint"
    with layer.block_history():
        layer._draw(label, start, stop)


def test_every_tool_paints_what_it_paints_into_numpy(layer_pair):
    layers, ours = layer_pair()
    steps = [
        lambda x: _brush(x, (250, 250), (270, 300), 1),
        lambda x: _brush(x, (0, 0), (599, 699), 2, size=40),
        lambda x: x.paint((256, 256), 0),
        lambda x: x.fill((255, 240), 3),
        lambda x: x.paint_polygon([(10, 400), (10, 600), (200, 500)], 4),
        lambda x: x.undo(),
        lambda x: x.undo(),
        lambda x: x.redo(),
        lambda x: setattr(x, "preserve_labels", True),
        lambda x: _brush(x, (100, 100), (500, 100), 5, size=31),
        lambda x: setattr(x, "contiguous", False),
        lambda x: x.fill((0, 699), 6),
        lambda x: x.undo(),
        lambda x: x.data_setitem((np.array([1, 2, 3]), np.array([7, 8, 9])), 8),
        lambda x: x.data_setitem((np.array([1, 2, 3]), np.array([7, 8, 9])), [4, 5, 6]),
        lambda x: x.undo(),
        lambda x: x.undo(),
        lambda x: x.redo(),
    ]
    for step in steps:
        for layer in layers:
            step(layer)
        _same(layers)
    ours.flush()
    ours.invalidate()
    layers[0].refresh()
    _same(layers)
    assert layers[0].get_value((256, 300)) == layers[1].get_value((256, 300))


def test_planes_of_a_stack_are_painted_apart(layer_pair):
    layers, _ours = layer_pair((3, 300, 310))
    for layer in layers:
        layer.n_edit_dimensions = 2
        _brush(layer, (0, 100, 100), (0, 250, 280), 1)
        layer.paint((2, 150, 150), 2)
        layer.n_edit_dimensions = 3
        layer.paint((1, 50, 50), 3)
        layer.undo()
        layer.redo()
    _same(layers)


def test_an_aborted_stroke_leaves_nothing(layer_pair):
    layers, ours = layer_pair()
    layer = layers[0]
    layer._begin_stroke()
    layer.paint((100, 100), 3)
    layer._abort_stroke()
    assert not np.asarray(ours).any()


def test_prediction_is_corrected_undone_and_keeps_following_the_worker(tmp_path, rng):
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("a", rng.random((300, 300)), "yx")
        worker = Project.open(project.path, "worker").image("a")
        worker.prediction[:, :150] = 1
        worker.prediction[:, 150:] = 2
        worker.prediction.flush()
        layer = labels_module.Labels(entry.prediction_view)
        assert layer.get_value((10, 10)) == 1
        layer.brush_size = 21
        layer.paint((100, 150), 3)
        layer.paint((200, 20), 0)  # erasing is a correction too
        assert (entry.prediction_view[100, 150], entry.prediction_view[200, 20]) == (3, 0)
        painted = int(np.count_nonzero(np.asarray(entry.corrections)))
        assert painted == int(
            np.count_nonzero(np.asarray(entry.prediction_view) != worker.prediction[...])
        )
        layer.undo()
        assert entry.prediction_view[200, 20] == 1
        assert entry.corrections[200, 20] == 0
        # The worker changes its mind; what was not corrected follows.
        worker.prediction[...] = 5
        worker.prediction.flush()
        entry.prediction_view.invalidate()
        layer.refresh()
        assert (layer.get_value((10, 10)), layer.get_value((100, 150))) == (5, 3)
        layer.undo()
        assert not entry.corrections[89:111, 140:149].any() or entry.prediction_view[100, 145] == 1
        assert entry.prediction_view.flush()
        worker.corrections.invalidate()


def test_a_newer_prediction_between_read_and_write_is_no_correction(tmp_path, rng):
    """napari reads a box, changes some of it and writes all of it back."""
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("a", rng.random((100, 100)), "yx")
        worker = Project.open(project.path, "worker").image("a")
        worker.prediction[...] = 1
        worker.prediction.flush()
        view = entry.prediction_view
        part = view[:50, :50]
        worker.prediction[...] = 2
        worker.prediction.flush()
        part[10, 10] = 4
        view[:50, :50] = part
        assert np.count_nonzero(np.asarray(entry.corrections)) == 1
        assert (view[10, 10], view[0, 0]) == (4, 2)


def test_prediction_view_handles_points_and_repeated_points(tmp_path, rng):
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("a", rng.random((300, 300)), "yx")
        view = entry.prediction_view
        assert isinstance(view, PredictionView)
        truth = np.zeros((300, 300), np.uint8)
        for _ in range(5):
            index = tuple(rng.integers(0, 300, 400))[:400]
            index = (rng.integers(0, 40, 400), rng.integers(240, 280, 400))
            values = rng.integers(0, 5, 400)
            truth[index] = values
            view[index] = values
            np.testing.assert_array_equal(np.asarray(view), truth)


def test_a_window_of_a_huge_array_is_a_layer_of_its_own(make_labels):
    base = make_labels((30_000, 30_000))
    window = Window(base, Box(20_000, 20_000, 20_500, 20_600))
    layer = labels_module.Labels(window, translate=(20_000, 20_000))
    _brush(layer, (100, 100), (400, 500), 7)
    layer.data_setitem((np.array([3]), np.array([4])), 2)
    assert base[20_003, 20_004] == 2
    assert base[20_250, 20_300] == 7
    np.testing.assert_array_equal(np.asarray(window), base[20_000:20_500, 20_000:20_600])
    assert layer._slice.image.raw.shape == (500, 600)
    layer.undo()
    layer.undo()
    assert not np.asarray(window).any()
    assert base._cache.bytes < 4 << 20


def test_a_duplicated_layer_is_painted_apart_from_ours(make_labels):
    from napari.components import ViewerModel
    from napari.layers import _layer_actions

    ours = make_labels()
    ours[:5, :5] = 2
    viewer = ViewerModel()
    viewer.add_labels(ours, name="regions")
    _layer_actions._duplicate_layer(viewer.layers)
    copy = viewer.layers["regions copy"]
    assert np.array_equal(copy.data, np.asarray(ours))
    copy.paint((300, 300), 7)
    assert (copy.data == 7).any()
    assert set(ours.ids(())) == {2}
