import numpy as np
import pytest

from napari_cas.engine.preprocess import NEUTRAL
from napari_cas.engine.sources import ArraySource, EntrySource
from napari_cas.protocol import Box
from napari_cas.store import Project

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4000, (3, 300, 280, 2)).astype(np.uint16)  # z, y, x, c
BOX = Box(250, 10, 300, 200)


@pytest.fixture
def entry(tmp_path):
    """Return a stack of a project, painted on two planes."""
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("stack", STACK, "zyxc")
        entry.regions[1, 260:270, 20:30] = 70_000
        entry.regions[2, 0:5, 0:5] = 3
        project.flush()
        yield entry


def test_an_array_is_cut_and_brought_to_0_to_255():
    image = np.moveaxis(STACK[0], 2, 0)
    source = ArraySource("a", image)
    assert (source.channels, source.size) == (2, (300, 280))
    found = source.read((), BOX)
    assert found.dtype == np.float32
    assert found.shape == (2, 50, 190)
    # Affine per channel: order and relative distances of values stay.
    for own, stored in zip(found, image[:, 250:300, 10:200], strict=True):
        assert np.corrcoef(own.ravel(), stored.ravel())[0, 1] > 0.999999
    whole = source.read((), Box(0, 0, 300, 280))
    assert np.percentile(whole, (1, 99)) == pytest.approx((2.5, 252.5), abs=2)


def test_what_is_read_of_a_pixel_does_not_depend_on_the_box():
    source = ArraySource("a", np.moveaxis(STACK[0], 2, 0))
    whole = source.read((), Box(0, 0, 300, 280))
    assert np.array_equal(source.read((), BOX), whole[:, 250:300, 10:200])


def test_an_array_says_where_it_is_painted():
    regions = np.zeros((300, 280), np.uint8)
    regions[20, 30], regions[40, 25] = 200, 1
    source = ArraySource("a", np.moveaxis(STACK[0], 2, 0), regions)
    assert list(source.painted()) == [((), Box(20, 25, 41, 31))]
    found = source.regions((), Box(20, 30, 22, 31))
    assert found.dtype == np.int64
    assert found.tolist() == [[200], [0]]


def test_an_array_without_paint_is_empty():
    image = np.moveaxis(STACK[0], 2, 0)
    for source in (ArraySource("a", image), ArraySource("a", image, np.zeros((300, 280), int))):
        assert list(source.painted()) == []
        assert not source.regions((), BOX).any()
        assert source.regions((), BOX).shape == BOX.shape


def test_an_image_of_a_project_is_read_plane_by_plane(entry):
    source = EntrySource(entry)
    assert (source.name, source.channels, source.size) == ("stack", 2, (300, 280))
    for z in (0, 2):
        found = source.read((z,), BOX)
        assert found.dtype == np.float32
        for c in (0, 1):
            stored = STACK[z, 250:300, 10:200, c]
            assert np.corrcoef(found[c].ravel(), stored.ravel())[0, 1] > 0.999999
    assert not np.array_equal(source.read((0,), BOX), source.read((2,), BOX))


def test_the_scale_is_that_of_all_planes_together(entry):
    source = EntrySource(entry)
    # One stored value becomes one number, on whichever plane.
    values = {}
    for z in range(3):
        found = source.read((z,), Box(0, 0, 300, 280))[0]
        values[z] = dict(zip(STACK[z, ..., 0].ravel().tolist(), found.ravel(), strict=True))
    common = set(values[0]) & set(values[1]) & set(values[2])
    assert len(common) > 1000
    assert all(values[0][v] == values[1][v] == values[2][v] for v in common)


def test_only_painted_chunks_of_a_project_are_named(entry):
    source = EntrySource(entry)
    painted = list(source.painted())
    assert {plane for plane, _ in painted} == {(1,), (2,)}
    total = sum(int(np.count_nonzero(source.regions(plane, box))) for plane, box in painted)
    assert total == 125
    assert source.regions((1,), Box(260, 20, 261, 22)).tolist() == [[70_000, 70_000]]


def test_a_project_says_what_was_shown_and_corrected(entry, tmp_path):
    with Project.open(tmp_path / "p.zarr", mode="worker") as worker:
        predicted = worker.image("stack").prediction
        predicted[1, 250:300, 10:200] = 4
        predicted.flush()
    entry.prediction.invalidate()
    source = EntrySource(entry)
    assert (source.shown((1,), BOX) == 4).all()
    assert not source.shown((0,), BOX).any()
    assert source.corrected((1,), BOX) is None
    entry.prediction_view[1, 255:260, 20:30] = 2
    entry.prediction_view[1, 262, 20:30] = 0  # erased: not said what it is
    found = source.corrected((1,), BOX)
    assert (found[5:10, 10:20] == 2).all()
    assert np.count_nonzero(found) == 50
    assert source.corrected((0,), BOX) is None


def test_an_array_knows_corrections_if_it_is_told():
    image = np.moveaxis(STACK[0], 2, 0)
    assert ArraySource("a", image).shown((), BOX) is None
    assert ArraySource("a", image).corrected((), BOX) is None
    said = np.zeros((300, 280), np.uint8)
    said[260, 20] = 3
    found = ArraySource("a", image, corrections=said).corrected((), BOX)
    assert found.shape == BOX.shape
    assert found[10, 10] == 3


def test_a_project_and_an_array_give_the_same_pixels(tmp_path):
    image = RNG.integers(0, 256, (100, 120, 3)).astype(np.uint8)
    with Project.create(tmp_path / "p.zarr") as project:
        stored = EntrySource(project.add_image("rgb", image, "yxc"))
        held = ArraySource("rgb", np.moveaxis(image, 2, 0))
        box = Box(3, 5, 90, 100)
        assert np.allclose(stored.read((), box), held.read((), box), atol=1e-3)


def test_no_data_is_looked_for_only_where_it_may_be(tmp_path, monkeypatch):
    gaps = np.random.default_rng(0).random((60, 80)).astype(np.float32)
    whole = gaps.copy()
    gaps[:, 50:] = np.nan
    with Project.create(tmp_path / "p.zarr") as project:
        entries = {
            "whole": project.add_image("whole", whole, "yx"),
            "gaps": project.add_image("gaps", gaps, "yx"),
        }
        entries["far"] = project.add_reference("far", entries["gaps"].folder)
        for name, entry in entries.items():
            entry.regions[10, 40:60] = 3
            source = EntrySource(entry)
            found = source.no_data((), Box(0, 40, 5, 60))
            painted = source.regions((), Box(10, 40, 11, 60))[0]
            if name == "whole":
                monkeypatch.setattr(type(entry), "read", None)
                assert source.no_data((), BOX) is found is None
                monkeypatch.undo()
                assert (painted == 3).all()
            else:
                assert not found[:, :10].any()
                assert found[:, 10:].all()
                assert painted.tolist() == [3] * 10 + [0] * 10


def test_a_value_of_no_data_is_neither_seen_nor_painted(tmp_path):
    image = np.random.default_rng(0).integers(30, 200, (60, 80, 3)).astype(np.uint8)
    image[:, 50:] = 0
    image[:5, :, 1] = 0  # one channel: a colour
    whole = Box(0, 0, 60, 80)
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("photograph", image, "yxc", no_data=0)
        entry.regions[10, 40:60] = 3
        source = EntrySource(entry)
        found = source.no_data((), whole)
        assert found[:, 50:].all()
        assert not found[:, :50].any()
        assert (source.read((), whole)[:, :, 50:] == NEUTRAL).all()
        assert source.regions((), Box(10, 40, 11, 60))[0].tolist() == [3] * 10 + [0] * 10
        plain = EntrySource(project.add_image("as it is", image, "yxc"))
        assert plain.no_data((), whole) is None
        assert (plain.read((), whole)[:, 5:, 50:] < 10).all()
