"""What cannot be seen in a raster is no data, as long as a project can say so exactly."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_cas.store import Project, tiffs
from napari_cas.store.opacity import without_opacity
from napari_cas.store.readers import read_image

MAKE = [np.asarray, lambda a: da.from_array(a, chunks=(2, 64, 64)), lambda a: zarr.array(a)]


@pytest.fixture
def rgba(rng):
    """A photograph (4, 100, 120) with an opaque half and a border of random colours."""
    image = rng.integers(40, 200, (4, 100, 120)).astype(np.uint8)
    image[3] = 255
    image[3, :50] = 0
    image[3, 60:70] = 9  # half seen is seen
    return image


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("planar", [False, True])
def test_the_border_of_an_orthophoto_is_no_data(tmp_path, rgba, monkeypatch, lazy, planar):
    monkeypatch.setattr(tiffs, "LAZY_BYTES", 0 if lazy else 1 << 30)
    tifffile.imwrite(
        tmp_path / "a.tif",
        rgba if planar else np.moveaxis(rgba, 0, -1),
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
        tile=(64, 64),
    )
    image = read_image(tmp_path / "a.tif")
    assert (image.no_data, image.data.dtype) == (0, np.uint8)
    assert isinstance(image.data, da.Array if lazy else np.ndarray)
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("a", image.data, image.axes, no_data=image.no_data)
        assert entry.intensity.missing == pytest.approx(0.5)
        found = np.asarray(entry.levels[0][...])
    assert not found[:, :50].any()
    np.testing.assert_array_equal(found[:, 50:], rgba[:3, 50:])


@pytest.mark.parametrize("make", MAKE)
def test_a_value_is_taken_that_no_pixel_with_data_has(rgba, make):
    rgba[:3, 80, :10] = 0
    rgba[:3, 81, :10] = 1
    rgba[:2, 82, :10] = 2  # not in all channels
    data, no_data = without_opacity(make(rgba), "cyx", 3)
    assert no_data == 2
    found = np.asarray(data[...])
    assert (found[:, :50] == 2).all()
    np.testing.assert_array_equal(found[:, 50:], rgba[:3, 50:])


def test_where_no_value_is_free_all_pixels_have_data(rgba):
    grey = rgba[[0, 3]]
    grey[0, 50:52].flat[:240] = np.arange(240)
    grey[0, 52, :16] = np.arange(240, 256)
    data, no_data = without_opacity(grey, "cyx", 1)
    assert no_data is None
    np.testing.assert_array_equal(data, grey[:1])


@pytest.mark.parametrize("opacity", [0, 1, 255])
def test_opacity_that_is_the_same_everywhere_says_nothing(rgba, opacity):
    rgba[3] = opacity
    data, no_data = without_opacity(rgba, "cyx", 3)
    assert no_data is None
    np.testing.assert_array_equal(data, rgba[:3])


@pytest.mark.parametrize("make", MAKE)
def test_floats_are_not_a_number_there(rgba, make):
    data, no_data = without_opacity(make(rgba.astype(np.float32)), "cyx", 3)
    found = np.asarray(data[...])
    assert no_data is None
    assert np.isnan(found[:, :50]).all()
    np.testing.assert_array_equal(found[:, 50:], rgba[:3, 50:])


def test_the_value_that_the_file_names_is_kept(tmp_path, rgba):
    rgba[:3, 90:] = 7
    tag = [(42113, "s", 0, "7", True)]
    image = np.moveaxis(rgba, 0, -1)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", extratags=tag)
    found = read_image(tmp_path / "a.tif")
    assert found.no_data == 7
    assert (np.asarray(found.data)[:50] == 7).all()
    np.testing.assert_array_equal(np.asarray(found.data)[50:], image[50:, :, :3])
