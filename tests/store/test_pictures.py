"""What Pillow stores otherwise than as red, green and blue."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from napari_cas.errors import ImageError
from napari_cas.store.readers import read_image, read_map

COLOURS = np.array([[[200, 30, 40], [20, 180, 60]], [[0, 0, 0], [250, 250, 250]]], np.uint8)


@pytest.fixture
def picture():
    """A picture (64, 64, 3) of four squares."""
    return COLOURS.repeat(32, 0).repeat(32, 1)


def test_inks_become_colours(tmp_path, picture):
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert (image.axes, image.data.shape) == ("yxc", picture.shape)
    assert np.abs(image.data.astype(int) - picture)[8::32, 8::32].max() < 12


def test_a_palette_is_colours_in_an_image_and_ids_in_a_map(tmp_path):
    ids = np.arange(4, dtype=np.uint8).reshape(2, 2).repeat(20, 0).repeat(20, 1)
    picture = Image.fromarray(ids, "P")
    picture.putpalette(COLOURS.tobytes())
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, COLOURS.reshape(4, 3)[ids])
    np.testing.assert_array_equal(read_map(tmp_path / "a.png").data, ids)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_colours_of_16_bits_keep_them(tmp_path, rng, samples):
    data = rng.integers(1, 4000, (20, 30, samples)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(data))
    image, colours = read_image(tmp_path / "a.png"), (1 if samples == 2 else 3)
    assert image.data.dtype == np.uint16
    np.testing.assert_array_equal(image.data.reshape(20, 30, colours), data[..., :colours])


def test_a_picture_that_claims_to_be_enormous_is_refused(tmp_path):
    data = bytearray(imagecodecs.png_encode(np.zeros((20, 30, 3), np.uint16)))
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match="exceeds limit"):
        read_image(tmp_path / "a.png")


def test_a_gif_of_one_picture_has_no_time(tmp_path):
    ids = np.arange(4, dtype=np.uint8).reshape(2, 2).repeat(20, 0).repeat(20, 1)
    picture = Image.fromarray(ids, "P")
    picture.putpalette(COLOURS.tobytes())
    picture.save(tmp_path / "a.gif")
    assert (read_image(tmp_path / "a.gif").axes, read_map(tmp_path / "a.gif").axes) == ("yxc", "yx")
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif").data, COLOURS.reshape(4, 3)[ids])
    np.testing.assert_array_equal(read_map(tmp_path / "a.gif").data, ids)
