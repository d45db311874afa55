"""Images of every type are copied exactly, in bounded memory, or refused with a reason."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from napari_cas.errors import ImageError, ProjectError
from napari_cas.store import Project
from napari_cas.store.intake import BLOCK_BYTES, Source


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("bool", "uint8"),
        ("uint8", "uint8"),
        (">u2", "uint16"),
        ("int16", "int16"),
        ("int64", "int64"),
        ("longlong", "int64"),
        ("ulonglong", "uint64"),
        ("float16", "float32"),
        ("float32", "float32"),
        (">f8", "float32"),
    ],
)
def test_types_are_stored_as_documented(tmp_path, rng, dtype, stored):
    data = (rng.random((70, 90)) * 200).astype(dtype)
    data[0, 0] = 0
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("a", data, "yx")
        assert entry.dtype == np.dtype(stored)
        np.testing.assert_array_equal(entry.levels[0][...], data.astype(stored))


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((9, 9)),
        np.full((2, 9, 9), 255, np.uint8),
        np.where(np.eye(9) > 0, np.nan, 4.0),
        np.full((9, 9), 1e20),
        np.full((9, 9), 2**62),
    ],
)
def test_constant_images_are_taken_with_a_range_that_can_be_shown(tmp_path, data):
    with Project.create(tmp_path / "p.zarr") as project:
        project.add_image("a", data, "cyx"[-data.ndim :])
    with Project.open(tmp_path / "p.zarr") as project:
        entry = project.image("a")
        value = float(np.nanmax(data.astype(entry.dtype)))
        assert all(low == value < high for low, high in zip(*ends(entry), strict=True))
    for channel in json.loads((entry.folder / "zarr.json").read_text())["attributes"]["ome"][
        "omero"
    ]["channels"]:
        window = channel["window"]
        assert window["min"] <= window["start"] < window["end"] <= window["max"]


def ends(entry):
    return entry.intensity.low, entry.intensity.high


@pytest.mark.parametrize(
    ("data", "axes", "match"),
    [
        (np.ones((9, 9), complex), "yx", "complex128"),
        (np.array([["a", "b"], ["c", "d"]]), "yx", "<U1"),
        (np.array([[None, 1], [2, 3]]), "yx", "object"),
        (np.zeros((0, 9)), "yx", "empty"),
        (np.full((9, 9), np.nan), "yx", "NaN in all of 81"),
        (np.where(np.eye(9) > 0, np.inf, np.nan), "yx", "9 of 81"),
        (np.array([[1e300, 0], [1, 2]]), "yx", "1 of 4"),
        (np.eye(9), "zy", "y and x"),
        (np.eye(9), "yxc", "3|letters"),
        (np.eye(9), "yy", "different letters"),
        (np.eye(9), "qx", "letters of t, c, z, y, x"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(tmp_path, data, axes, match):
    with (
        Project.create(tmp_path / "p.zarr") as project,
        pytest.raises(ImageError, match=match),
    ):
        project.add_image("a", data, axes)


@pytest.mark.parametrize(
    "options",
    [
        {"scale": (1,)},
        {"scale": (0, 1)},
        {"scale": (1, float("nan"))},
        {"units": ("um",)},
        {"channel_names": ("a", "b")},
    ],
)
def test_notes_that_do_not_fit_are_refused(tmp_path, options):
    with Project.create(tmp_path / "p.zarr") as project, pytest.raises(ImageError):
        project.add_image("a", np.eye(9), "yx", **options)


def test_a_list_is_an_image_too(tmp_path):
    with Project.create(tmp_path / "p.zarr") as project:
        assert project.add_image("a", [[1, 2], [3, 4]], "yx").shape == (2, 2)


def test_an_array_that_fails_while_reading_is_a_typed_error(tmp_path):
    import dask.array as da

    def broken(block):
        raise RuntimeError("disk gone")

    lazy = da.zeros((50, 50), chunks=25).map_blocks(broken, dtype=float, meta=np.empty((0, 0)))
    with Project.create(tmp_path / "p.zarr") as project:
        with pytest.raises(ImageError, match="disk gone"):
            project.add_image("a", lazy, "yx")
        assert project.images == ()


@pytest.mark.parametrize(
    ("shape", "axes", "dtype"),
    [
        ((100_000, 100_000), "yx", "uint8"),
        ((100_000, 100_000, 3), "yxc", "float32"),
        ((64, 20_000, 20_000), "cyx", "float32"),
        ((500, 500, 2000, 2000), "tzyx", "uint16"),
        ((4096, 3), "yx", "uint8"),
    ],
)
def test_blocks_are_bounded_and_aligned_to_chunks(shape, axes, dtype):
    class Huge:
        """Looks like an array far larger than memory."""

        def __init__(self):
            self.shape, self.dtype = shape, np.dtype(dtype)
            self.chunks = tuple(min(n, 3000) for n in shape)

        def __getitem__(self, key):
            raise AssertionError

    source = Source(Huge(), axes)
    step = source.steps()
    assert np.prod(list(step.values())) * np.dtype(dtype).itemsize <= BLOCK_BYTES
    for axis in "yx":
        size = source.shape[source.canonical.index(axis)]
        assert step[axis] % 512 == 0 or step[axis] == size


@pytest.mark.slow
def test_an_image_larger_than_allowed_memory_is_copied(tmp_path):
    """A 12,000 × 12,000 lazily made image (576 MB as float32) with 400 MB above the libraries."""
    code = f"""
import resource, sys
import dask.array as da, numpy as np
from napari_cas.store import Project
from pathlib import Path
project = Project.create(Path({str(tmp_path)!r}) / "p.zarr")
project.add_image("warm", np.eye(600), "yx")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
y = da.arange(12_000, chunks=3000, dtype="float32")
entry = project.add_image("big", (y[:, None] % 251) * (y[None] % 241), "yx")
used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
assert entry.shape == (12_000, 12_000)
assert float(entry.levels[0][11_999, 11_998]) == (11_999 % 251) * (11_998 % 241)
assert used < 400, used
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


def test_hot_pixels_do_not_take_the_range(tmp_path, rng):
    data = rng.normal(100, 10, (3, 300, 300))
    data[rng.random(data.shape) < 0.005] = 60_000
    with Project.create(tmp_path / "p.zarr") as project:
        intensity = project.add_image("a", data.astype(np.uint16), "zyx").intensity
    assert intensity.low[0] == pytest.approx(69, abs=12)
    assert intensity.high[0] == pytest.approx(131, abs=12)


def test_intensity_is_robust_and_per_channel(tmp_path, rng):
    data = rng.normal(100, 10, (2, 900, 1000)).astype(np.float32)
    data[1] *= 10
    data[0, 450, 500] = 1e9  # one hot pixel
    with Project.create(tmp_path / "p.zarr") as project:
        intensity = project.add_image("a", data, "cyx").intensity
        for channel, factor in ((0, 1), (1, 10)):
            assert intensity.low[channel] == pytest.approx(factor * 69, rel=0.05)
            assert intensity.high[channel] == pytest.approx(factor * 131, rel=0.05)
        sparse = np.zeros((900, 900), np.uint8)
        sparse[400:403, 400:403] = 200
        lonely = project.add_image("sparse", sparse, "yx").intensity
        assert lonely.low[0] < lonely.high[0]
        empty = np.stack([np.zeros((50, 50)), np.eye(50)])
        assert project.add_image("half", empty, "cyx").intensity.high == (1.0, 1.0)


def test_pyramids_are_means(tmp_path, rng):
    data = rng.integers(0, 60_000, (3, 1025, 700)).astype(np.uint16)
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("a", data, "cyx")
        assert [level.shape for level in entry.levels] == [
            (3, 1025, 700),
            (3, 513, 350),
            (3, 257, 175),
        ]
        mean = data[:, :1024].reshape(3, 512, 2, 350, 2).mean((2, 4))
        np.testing.assert_allclose(entry.levels[1][:, :512], mean, atol=0.5)


def test_pixels_without_data_are_kept_and_do_not_touch_the_range(tmp_path, rng):
    data = rng.normal(100, 10, (600, 700))
    data[:, :300] = np.nan
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("raster", data, "yx")
        np.testing.assert_array_equal(entry.levels[0][...], data.astype(np.float32))
        assert entry.intensity.missing == pytest.approx(3 / 7)
        assert entry.intensity.low[0] == pytest.approx(69, rel=0.05)
        assert entry.intensity.high[0] == pytest.approx(131, rel=0.05)
        coarse = entry.levels[1][...]
        assert np.isnan(coarse[:, :150]).all()
        assert not np.isnan(coarse[:, 150:]).any()
    with Project.open(tmp_path / "p.zarr") as project:
        assert project.image("raster").intensity == entry.intensity


def test_the_range_is_known_where_the_squares_looked_at_hold_no_data(tmp_path):
    data = np.full((4000, 4000), np.nan, np.float32)
    data[600:700, 600:700] = np.linspace(5, 9, 10_000).reshape(100, 100)  # between the squares
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("island", data, "yx")
        assert (entry.intensity.low, entry.intensity.high) == ((5.0,), (9.0,))
        assert entry.intensity.missing == pytest.approx(1 - 1e4 / 16e6)
        with pytest.raises(ImageError, match="no data"):
            project.add_reference("far", entry.folder)
        two = np.stack([data, np.linspace(0, 1, data.size).reshape(data.shape)])
        stack = project.add_image("stack", two, "cyx")
        far = project.add_reference("far stack", stack.folder)
        assert far.intensity.low[0] == 0  # nothing better is known
        assert far.intensity.high[1] == pytest.approx(1, abs=0.05)


def test_a_project_closed_in_the_middle_of_a_copy_stays_as_it_is(tmp_path, rng):
    project = Project.create(tmp_path / "p.zarr")

    with pytest.raises(ProjectError, match="not open for writing"):
        project.add_image("late", rng.random((64, 80)), "yx", progress=lambda *_: project.close())
    with Project.open(tmp_path / "p.zarr") as again:
        assert again.images == ()
        assert not list((again.path / "images").glob("*late*"))
