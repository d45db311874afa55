import numpy as np
import pytest
import tifffile
import zarr

from napari_cas.errors import ImageError
from napari_cas.store import Project, tiffs
from napari_cas.store.rasters import without_no_data
from napari_cas.store.readers import read_image


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_rasters_say_which_value_is_no_data(tmp_path, rng, monkeypatch, lazy, dtype):
    monkeypatch.setattr(tiffs, "LAZY_BYTES", 0 if lazy else 1 << 30)
    data = (rng.random((600, 700)) * 3000).astype(dtype)
    data[:100] = -9999
    tag = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "dem.tif", data, tile=(256, 256), extratags=tag)
    image = read_image(tmp_path / "dem.tif")
    assert image.axes == "yx"
    assert image.data.dtype.kind == "f"
    found = np.asarray(image.data)
    assert np.isnan(found[:100]).all()
    np.testing.assert_array_equal(found[100:], data[100:])
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("dem", image.data, image.axes)
        assert entry.intensity.missing == pytest.approx(1 / 6)
        assert entry.intensity.low[0] >= 0


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (np.uint16, "0.5"),
        (np.uint8, "-9999"),
        (np.float32, "nan"),
        (">f4", "?"),
        (np.float32, "1e300"),
    ],
)
def test_other_values_of_no_data_leave_pixels_as_they_are(tmp_path, rng, dtype, value):
    data = (rng.random((64, 64)) * 3000).astype(dtype)
    tag = [(42113, "s", 0, value, True)]
    tifffile.imwrite(tmp_path / "a.tif", data, extratags=tag)
    image = read_image(tmp_path / "a.tif")
    assert image.data.dtype.kind == np.dtype(dtype).kind
    assert image.no_data is None
    np.testing.assert_array_equal(image.data, data)


def test_layers_of_a_raster_are_masked_by_its_file(tmp_path, rng):
    data = rng.random((64, 80)).astype(np.float32)
    data[:8] = -9999
    tag = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "a.tif", data, extratags=tag)
    found, no_data = without_no_data(data, tmp_path / "a.tif")
    assert np.isnan(found[:8]).all()
    assert no_data is None
    large = np.broadcast_to(data, (1000, 64, 80))
    for lazy in (zarr.array(data, chunks=(32, 32)), large):
        found, _ = without_no_data(lazy, tmp_path / "a.tif")
        assert hasattr(found, "compute")
        assert np.isnan(np.asarray(found[..., :8, :])).all()


def test_what_is_no_raster_is_left_as_it_is(tmp_path, rng):
    data = rng.random((8, 8))
    (tmp_path / "a.tif").write_bytes(b"II*\0 no more than this")
    (tmp_path / "a.png").write_bytes(b"")
    for name in ("a.tif", "a.png", "missing.tif", ""):
        assert without_no_data(data, tmp_path / name) == (data, None)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_black_border_of_a_photograph_is_no_data(tmp_path, rng, monkeypatch, lazy):
    monkeypatch.setattr(tiffs, "LAZY_BYTES", 0 if lazy else 1 << 30)
    data = rng.integers(40, 200, (600, 700, 3), np.uint8)
    data[:100] = 0
    data[100:200, :, 0] = 0  # red alone is missing: that is a colour
    tag = [(42113, "s", 0, "0", True)]
    tifffile.imwrite(tmp_path / "a.tif", data, tile=(256, 256), photometric="rgb", extratags=tag)
    image = read_image(tmp_path / "a.tif")
    assert (image.no_data, image.data.dtype) == (0, np.uint8)
    with Project.create(tmp_path / "p.zarr") as project:
        made = project.add_image("a", image.data, image.axes, no_data=image.no_data)
        assert made.intensity.missing == pytest.approx(1 / 6)
        assert made.intensity.low == (0, 40, 40)
    with Project.open(tmp_path / "p.zarr", "r") as project:
        entry = project.image("a")
        assert entry.intensity == made.intensity
        assert entry.dtype == np.uint8


def test_a_raster_of_nothing_but_no_data_is_refused(tmp_path):
    with Project.create(tmp_path / "p.zarr") as project:
        with pytest.raises(ImageError, match="no data"):
            project.add_image("a", np.full((64, 64), 7, np.uint16), "yx", no_data=7)
        assert project.images == ()
