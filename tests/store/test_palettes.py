"""Pixels that are places in a table of colours are read as colours, in maps of regions as ids."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_cas.store import tiffs
from napari_cas.store.readers import read_image, read_map


@pytest.fixture
def places(rng):
    return rng.integers(0, 256, (60, 70)).astype(np.uint8)


@pytest.fixture
def table(rng):
    """Colours of 16 bits, as TIFF has them, none of them grey."""
    return np.sort(rng.integers(256, 65536, (3, 256)), axis=0).astype(np.uint16)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_in_an_image_and_ids_in_a_map(tmp_path, monkeypatch, places, table, lazy, bits):
    monkeypatch.setattr(tiffs, "LAZY_BYTES", 0 if lazy else 1 << 30)
    kept = table if bits == 16 else table >> 8  # as some programs write them
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, places, photometric="palette", colormap=kept, tile=(32, 32))
    image = read_image(path)
    assert (image.axes, image.data.dtype, image.no_data) == ("yxc", np.uint8, None)
    np.testing.assert_array_equal(np.asarray(image.data), (table >> 8).T[places])
    ids = read_map(path)
    assert ids.axes == "yx"
    np.testing.assert_array_equal(np.asarray(ids.data), places)


def test_a_stack_of_greys_stays_grey(tmp_path, rng):
    stack, grey = rng.integers(0, 256, (3, 30, 40)).astype(np.uint8), 257 * np.arange(255, -1, -1)
    table = np.stack([grey] * 3).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="palette", colormap=table)
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "zyx"
    np.testing.assert_array_equal(image.data, 255 - stack)


def test_a_place_may_stand_for_no_data(tmp_path, places, table):
    tag = [(42113, "s", 0, "7", True)]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, places, photometric="palette", colormap=table, extratags=tag)
    image, empty = read_image(path), places == 7
    np.testing.assert_array_equal((image.data == image.no_data).all(-1), empty)
    np.testing.assert_array_equal(image.data[~empty], (table >> 8).T[places[~empty]])
    assert read_map(path).no_data == 7


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_what_a_microscope_measured_stays_however_it_is_shown(tmp_path, places, table, kind):
    note = {"ome": True} if kind == "ome" else {"description": "ImageJ=1.54f\n", "metadata": None}
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    tifffile.imwrite(path, places, photometric="palette", colormap=table, **note)
    with tifffile.TiffFile(path) as file:
        assert getattr(file, f"is_{kind}")
        assert file.pages[0].colormap is not None
    image = read_image(path)
    assert image.axes == "yx"
    np.testing.assert_array_equal(image.data, places)
