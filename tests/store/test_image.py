"""Images are read the same whatever they were: type, axes, place, size."""

from __future__ import annotations

import json

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_cas.errors import ImageError, ProjectFormatError
from napari_cas.protocol import Box
from napari_cas.store import Project


@pytest.mark.parametrize("axes", ["yx", "xy", "yxc", "cyx", "zyx", "tzcyx", "xyzct", "ytx"])
@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_any_order_of_axes_reads_back_canonically(tmp_path, rng, axes, kind):
    sizes = {"t": 2, "c": 3, "z": 4, "y": 40, "x": 30}
    data = rng.integers(0, 1000, [sizes[a] for a in axes]).astype(np.uint16)
    scale = [{"t": 9.0, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.25}[a] for a in axes]
    given = data
    if kind == "dask":
        given = da.from_array(data, chunks=tuple(max(1, n // 2) for n in data.shape))
    elif kind == "zarr":
        given = zarr.create_array(
            str(tmp_path / "in.zarr"), shape=data.shape, dtype=data.dtype, chunks=(7,) * data.ndim
        )
        given[...] = data
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("a", given, axes, scale=scale)
        order = "".join(a for a in "tczyx" if a in axes)
        truth = np.transpose(data, [axes.index(a) for a in order])
        assert (entry.axes, entry.shape, entry.dtype) == (order, truth.shape, np.uint16)
        assert entry.scale == tuple(scale[axes.index(a)] for a in order)
        np.testing.assert_array_equal(entry.levels[0][...], truth)
        assert entry.label_axes == order.replace("c", "")
        assert entry.label_shape == tuple(sizes[a] for a in entry.label_axes)
        assert entry.planes_shape == tuple(sizes[a] for a in entry.plane_axes)
        for plane in entry.planes():
            where = dict(zip(entry.plane_axes, plane, strict=True))
            expected = truth[tuple(where.get(a, slice(None)) for a in order)]
            expected = expected if "c" in order else expected[None]
            got = entry.read(plane, Box(5, 3, 99, 20))
            np.testing.assert_array_equal(got, expected[:, 5:, 3:20])


@pytest.mark.parametrize("plane", [(), (0, 0), (4,), (-1,)])
def test_reading_a_plane_that_is_not_there(tmp_path, rng, plane):
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("a", rng.random((4, 20, 20)), "zyx")
        with pytest.raises(ImageError, match="No such plane"):
            entry.read(plane, Box(0, 0, 5, 5))


def test_a_damaged_chunk_of_pixels_is_a_typed_error(project):
    entry = project.image("cells")
    chunk = next((entry.folder / "0" / "c").rglob("0"))
    while chunk.is_dir():
        chunk = chunk / "0"
    chunk.write_bytes(b"not zstd")
    with pytest.raises(ImageError, match="cannot be read"):
        entry.read((), Box(0, 0, 5, 5))


def test_references_keep_pixels_where_they_are(tmp_path, rng, write_v04):
    data = rng.integers(0, 60_000, (2, 3, 80, 90)).astype(np.uint16)
    source = write_v04(tmp_path / "far" / "image.zarr", data, "tcyx", scale=[5, 1, 0.5, 0.25])
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_reference("far", source)
        assert not (entry.folder / "0").exists()
        assert (entry.axes, entry.scale) == ("tcyx", (5, 1, 0.5, 0.25))
        np.testing.assert_array_equal(entry.read((1,), Box(0, 0, 80, 90)), data[1])
        assert [level.shape[-2:] for level in entry.levels] == [(80, 90), (40, 45)]
        entry.regions[1, 5:9, 5:9] = 1
    with Project.open(tmp_path / "p.zarr") as project:
        assert project.image("far").regions.ids((1,)) == {1: 16}
    # Moved together, it is found again; gone, it is named.
    (tmp_path / "new").mkdir()
    (tmp_path / "far").rename(tmp_path / "new" / "far")
    (tmp_path / "p.zarr").rename(tmp_path / "new" / "p.zarr")
    with Project.open(tmp_path / "new" / "p.zarr") as project:
        np.testing.assert_array_equal(
            project.image("far").read((0,), Box(0, 0, 9, 9)), data[0, :, :9, :9]
        )
    (tmp_path / "new" / "far").rename(tmp_path / "elsewhere")
    with Project.open(tmp_path / "new" / "p.zarr") as project:
        assert project.images == ()
        assert "is gone" in project.problems[0]


def test_references_in_an_unusual_order_are_turned(tmp_path, rng, write_v04):
    data = rng.integers(0, 255, (5, 4, 60, 50)).astype(np.uint8)
    source = write_v04(tmp_path / "x.zarr", data, "zcxy")
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_reference("odd", source)
        assert (entry.axes, entry.shape) == ("czyx", (4, 5, 50, 60))
        np.testing.assert_array_equal(
            entry.read((2,), Box(0, 0, 50, 60)), data[2].transpose(0, 2, 1)
        )
        np.testing.assert_array_equal(entry.levels[0].compute(), data.transpose(1, 0, 3, 2))


def test_references_that_cannot_be_used(tmp_path, rng, write_v04):
    data = rng.random((30, 30)).astype(np.float32)
    with Project.create(tmp_path / "p.zarr") as project:
        with pytest.raises(ImageError, match="cannot be opened"):
            project.add_reference("a", tmp_path / "nothing.zarr")
        zarr.create_group(str(tmp_path / "empty.zarr"))
        with pytest.raises(ProjectFormatError, match="multiscales"):
            project.add_reference("a", tmp_path / "empty.zarr")
        bad = write_v04(tmp_path / "bad.zarr", data, "yx")
        attributes = json.loads((bad / ".zattrs").read_text())
        attributes["multiscales"][0]["datasets"][0]["path"] = "../../secret"
        (bad / ".zattrs").write_text(json.dumps(attributes))
        with pytest.raises(ProjectFormatError, match="outside"):
            project.add_reference("a", bad)
        data[0, 0] = np.inf
        with pytest.raises(ImageError, match="infinite"):
            project.add_reference("a", write_v04(tmp_path / "inf.zarr", data, "yx"))
        assert project.images == ()
        assert list((project.path / "images").glob(".tmp*")) == []
