"""Files of all kinds open as what they are."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
import zarr

from napari_cas.errors import ImageError
from napari_cas.store.levels import open_levels
from napari_cas.store.readers import guess_axes, images_in, read_image, read_map


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_pictures_are_exact(tmp_path, rng, suffix, shape):
    data = rng.integers(0, 255, shape).astype(np.uint8)
    path = tmp_path / f"my image{suffix}"
    imageio.imwrite(path, data)
    image = read_image(path)
    assert (image.axes, image.name, image.source) == ("yxc"[: len(shape)], "my image", None)
    np.testing.assert_array_equal(image.data, data)


def test_jpeg_16_bit_and_opacity(tmp_path, rng):
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    imageio.imwrite(tmp_path / "a.jpg", smooth)
    assert np.abs(read_image(tmp_path / "a.jpg").data.astype(int) - smooth).max() < 8
    deep = rng.integers(0, 65_535, (20, 30)).astype(np.uint16)
    imageio.imwrite(tmp_path / "b.png", deep)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").data, deep)
    rgba = rng.integers(0, 255, (20, 30, 4)).astype(np.uint8)
    rgba[..., 3] |= 1
    imageio.imwrite(tmp_path / "c.png", rgba)
    np.testing.assert_array_equal(read_image(tmp_path / "c.png").data, rgba[..., :3])


@pytest.mark.parametrize("colours", [1, 3])
def test_what_is_transparent_is_no_data_in_an_image_and_an_id_in_a_map(tmp_path, rng, colours):
    data = rng.integers(1, 255, (20, 30, colours + 1)).astype(np.uint8)
    data[..., -1] = 255
    data[:5, :, -1] = 0
    imageio.imwrite(tmp_path / "a.png", data)
    image = read_image(tmp_path / "a.png")
    shown = image.data.reshape(20, 30, colours)
    assert image.no_data == 0
    assert (shown[:5] == 0).all()
    np.testing.assert_array_equal(shown[5:], data[5:, :, :-1])
    assert (image.axes, image.data.ndim) == (("yx", 2) if colours == 1 else ("yxc", 3))
    ids = read_map(tmp_path / "a.png")
    np.testing.assert_array_equal(ids.data.reshape(20, 30, colours), data[..., :-1])
    assert ids.no_data is None


def test_npy_is_mapped_and_never_unpickled(tmp_path, rng):
    data = rng.random((20, 40, 50))
    np.save(tmp_path / "a.npy", data)
    image = read_image(tmp_path / "a.npy")
    assert isinstance(image.data, np.memmap)
    assert image.axes == "zyx"
    np.save(tmp_path / "b.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / "b.npy")


def test_ome_zarr_can_be_referred_to_or_copied(tmp_path, rng, write_v04):
    data = rng.integers(0, 255, (2, 80, 90)).astype(np.uint8)
    path = write_v04(tmp_path / "x.ome.zarr", data, "cyx", scale=[1, 0.5, 0.5])
    image = read_image(path)
    assert (image.axes, image.scale, image.source) == ("cyx", (1, 0.5, 0.5), str(path))
    assert image.name == "from elsewhere"
    np.testing.assert_array_equal(image.data[:], data)


@pytest.mark.parametrize(
    ("own", "name"), [("/", "x"), ("/images/day 2/", "day 2"), ("", "x"), ("DAPI/GFP", "DAPI/GFP")]
)
def test_a_place_in_a_store_is_no_name(tmp_path, rng, write_v04, own, name):
    path = write_v04(tmp_path / "x.ome.zarr", rng.random((30, 30)), "yx")
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["name"] = own  # ome-zarr-py writes the group's path
    (path / ".zattrs").write_text(json.dumps(attributes))
    assert read_image(path).name == name


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_collection_stands_for_its_images(tmp_path, rng, write_v04, zarr_format):
    layout = {"bioformats2raw.layout": 3}
    attributes = layout if zarr_format == 2 else {"ome": {"version": "0.5", **layout}}
    path = tmp_path / "many.zarr"
    zarr.create_group(str(path), zarr_format=zarr_format, attributes=attributes)
    zarr.create_group(str(path / "OME"), zarr_format=zarr_format)
    assert images_in(str(path)) == [str(path)]  # which says that there is none
    for number in "01":
        image = write_v04(path / number, rng.random((30, 30)), "yx")
        own = json.loads((image / ".zattrs").read_text())
        own["multiscales"][0]["name"] = number
        (image / ".zattrs").write_text(json.dumps(own))
    assert images_in(str(path)) == [str(path / "0"), str(path / "1")]
    assert [read_image(image).name for image in images_in(str(path))] == ["many-0", "many-1"]
    for other in (str(path / "0"), str(tmp_path), "http://host/many.zarr", "no.png"):
        assert images_in(other) == [other]


def test_plain_zarr_arrays_use_dimension_names_or_a_guess(tmp_path, rng):
    data = rng.random((6, 30, 40))
    named = zarr.create_array(
        str(tmp_path / "a.zarr"),
        shape=data.shape,
        dtype=data.dtype,
        dimension_names=["t", "y", "x"],
    )
    named[...] = data
    assert read_image(tmp_path / "a.zarr").axes == "tyx"
    zarr.create_array(str(tmp_path / "b.zarr"), shape=data.shape, dtype=data.dtype)
    assert read_image(tmp_path / "b.zarr").axes == "zyx"


@pytest.mark.parametrize("kind", ["npy", "zarr", "tif"])
def test_axes_are_given_where_the_file_does_not_say_them(tmp_path, rng, kind):
    data = rng.integers(0, 9, (3, 30, 40)).astype(np.uint8)
    for name, array in (("a", data), ("ids", data[0])):
        path = tmp_path / f"{name}.{kind}"
        if kind == "npy":
            np.save(path, array)
        elif kind == "zarr":
            zarr.save_array(str(path), array)
        else:
            tifffile.imwrite(path, array, photometric="minisblack", metadata=None)
    path, ids = tmp_path / f"a.{kind}", tmp_path / f"ids.{kind}"
    assert (read_image(path).axes, read_image(path, "CYX").axes) == ("zyx", "cyx")
    assert (read_map(path, "tyx").axes, read_map(ids, "cyx").axes) == ("tyx", "yx")
    with pytest.raises(ImageError, match=r"given do not fit.*3 letters.*got 'yx'"):
        read_image(path, "yx")
    with pytest.raises(ImageError, match="Unusable axes"):
        read_image(path, "qyx")


def test_axes_that_a_file_says_count(tmp_path, rng, write_v04):
    data = rng.integers(0, 9, (3, 30, 40)).astype(np.uint8)
    image = write_v04(tmp_path / "a.zarr", data, "cyx")
    tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata={"axes": "CYX"})
    imageio.imwrite(tmp_path / "a.png", data[0])
    for path, axes in ((image, "cyx"), (tmp_path / "a.ome.tif", "cyx"), (tmp_path / "a.png", "yx")):
        assert read_image(path, "tyx").axes == axes


def test_groups_with_several_images_say_which(tmp_path, rng, write_v04):
    zarr.create_group(str(tmp_path / "many.zarr"), zarr_format=2)
    write_v04(tmp_path / "many.zarr" / "first", rng.random((30, 30)), "yx")
    with pytest.raises(ImageError, match=r"group with first.*Open one of the images"):
        read_image(tmp_path / "many.zarr")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.npy", "a.gif", "a.xyz", "a"])
def test_foreign_files_are_typed_errors(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no image at all" * 10)
    with pytest.raises(ImageError):
        read_image(tmp_path / name)
    with pytest.raises(ImageError, match="No such image"):
        read_image(tmp_path / f"not-{name}")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ""])
def test_what_was_found_is_said_in_words(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(ImageError, match="got an empty file"):
        read_image(path)
    path.write_bytes(b"something else " * 20)
    with pytest.raises(ImageError, match=r"no TIFF|no picture|no NumPy array"):
        read_image(path)
    path.write_bytes(b"ab")
    with pytest.raises(ImageError, match="got ") as caught:
        read_image(path)
    assert "Error" not in str(caught.value)
    assert "error:" not in str(caught.value)


def test_a_place_that_cannot_be_looked_at_is_a_typed_error():
    with pytest.raises(ImageError, match=r"got File ?name too long\."):
        read_image("a" * 300 + ".png")


def test_a_folder_that_is_not_zarr_is_said_to_be_none(tmp_path):
    with pytest.raises(ImageError, match="got a folder that is not Zarr"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="got a folder that is not Zarr"):
        open_levels(str(tmp_path))
    with pytest.raises(ImageError, match="got nothing there that is Zarr"):
        read_image("memory://nowhere/at/all.zarr")
    with pytest.raises(ImageError, match="Download it"):
        read_image("memory://nowhere/at/all.png")


def test_truncated_files_are_typed_errors(tmp_path, rng):
    data = rng.integers(0, 255, (64, 64)).astype(np.uint8)
    for name in ("a.png", "a.tif"):
        imageio.imwrite(tmp_path / name, data)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ImageError):
            read_image(tmp_path / name)


@pytest.mark.parametrize("start", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xc5\xd0\xd3\xc6"])
def test_postscript_is_never_run_under_the_name_of_a_picture(tmp_path, start):
    path = tmp_path / "picture.png"
    path.write_bytes(start + b"%%BoundingBox: 0 0 10 10\n(x) print quit\n%%EOF\n")
    with pytest.raises(ImageError, match="PostScript"):
        read_image(path)


@pytest.mark.parametrize("where", ["chunks", "shards"])
def test_plain_arrays_with_chunks_beyond_memory_are_refused(tmp_path, where):
    options = {"chunks": (1 << 16, 1 << 16)} if where == "chunks" else {"chunks": (1, 1)}
    options |= {"shards": (1 << 16, 1 << 16)} if where == "shards" else {}
    zarr.create_array(str(tmp_path / "a"), shape=(1 << 16, 1 << 16), dtype="u1", **options)
    with pytest.raises(ImageError, match="chunks below 1 GiB"):
        read_image(tmp_path / "a")


class Executed:
    """What a pickle that does harm looks like, harmless."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_chunks_that_want_to_be_unpickled_are_refused(tmp_path, place):
    mark = tmp_path / "executed"
    pickle.loads(pickle.dumps(Executed(mark)))
    assert mark.exists()
    mark.unlink()
    array = tmp_path / "a"
    zarr.create_array(str(array), shape=(8, 8), dtype="u1", zarr_format=2, compressors=None)
    meta = json.loads((array / ".zarray").read_text())
    codec = {"id": "pickle", "protocol": 5}
    meta[place] = [codec] if place == "filters" else codec
    (array / ".zarray").write_text(json.dumps(meta))
    (array / "0.0").write_bytes(pickle.dumps(Executed(mark)))
    with pytest.raises(ImageError):
        np.asarray(read_image(array).data[...])
    assert not mark.exists()


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((9, 9), "yx"),
        ((9, 9, 3), "yxc"),
        ((9, 64, 64), "zyx"),
        ((5, 9, 64, 3), "zyxc"),
        ((2, 9, 64, 64), "czyx"),
        ((3, 2, 9, 64, 64), "tczyx"),
        ((3, 3, 3), "zyx"),
        ((200, 160, 12), "yxc"),
        ((128, 128, 32), "yxc"),
        ((512, 512, 33), "zyx"),
        ((200, 40, 12), "zyx"),
        ((12, 256, 256), "zyx"),
        ((256, 256, 1), "zyx"),
        ((7, 200, 160, 12), "zyxc"),
        ((2, 3, 100, 100, 20), "tczyx"),
    ],
)
def test_guessed_axes(shape, axes):
    assert guess_axes(shape) == axes


@pytest.mark.parametrize("shape", [(200, 160, 12), (9, 64, 3)])
def test_a_map_has_no_channels(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    assert read_map(tmp_path / "a.npy").axes == "zyx"
    assert read_image(tmp_path / "a.npy").axes == "yxc"
    zarr.create_array(str(tmp_path / "a.zarr"), shape=shape, dtype="u1")
    assert read_map(tmp_path / "a.zarr").axes == "zyx"


@pytest.mark.parametrize("shape", [(9,), (), (1, 2, 3, 4, 5, 6)])
def test_axes_that_cannot_be_guessed(shape):
    with pytest.raises(ImageError):
        guess_axes(shape)
