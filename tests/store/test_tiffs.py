"""TIFF of all kinds: which samples are channels, what their sizes are, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_cas.errors import ImageError
from napari_cas.store import Project, tiffs
from napari_cas.store.readers import read_image


@pytest.mark.parametrize("lazy", [False, True])
def test_ome_tiff_brings_axes_scale_and_names(tmp_path, rng, monkeypatch, lazy):
    monkeypatch.setattr(tiffs, "LAZY_BYTES", 0 if lazy else 1 << 30)
    data = rng.integers(0, 4000, (2, 3, 4, 64, 80)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "stack.ome.tif",
        data,
        metadata={
            "axes": "TCZYX",
            "PhysicalSizeX": 0.2,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 0.3,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZ": 2.0,
            "PhysicalSizeZUnit": "µm",
            "Channel": {"Name": ["DAPI", "GFP", "RFP"]},
        },
    )
    image = read_image(tmp_path / "stack.ome.tif")
    assert isinstance(image.data, zarr.Array if lazy else np.ndarray)
    assert (image.name, image.axes) == ("stack", "tczyx")
    assert image.scale == (1, 1, 2.0, 0.3, 0.2)
    assert image.units[-1] == "micrometer"
    assert image.channel_names == ("DAPI", "GFP", "RFP")
    np.testing.assert_array_equal(image.data[:], data)
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image(
            "a",
            image.data,
            image.axes,
            scale=image.scale,
            units=image.units,
            channel_names=image.channel_names,
        )
        np.testing.assert_array_equal(entry.levels[0][...], data)
        assert entry.channel_names == image.channel_names


def test_imagej_tiff_brings_its_scale(tmp_path, rng):
    data = rng.integers(0, 255, (5, 40, 50)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "ij.tif",
        data,
        imagej=True,
        resolution=(4, 2),
        metadata={"spacing": 3.0, "unit": "um", "axes": "ZYX"},
    )
    image = read_image(tmp_path / "ij.tif")
    assert image.axes == "zyx"
    assert image.scale == (3.0, 0.5, 0.25)
    assert image.units == ("micrometer",) * 3


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    ("photometric", "extra", "kept"),
    [
        ("rgb", [0], [0, 1, 2, 3]),  # near infrared
        ("rgb", [1], [0, 1, 2]),
        ("rgb", [2], [0, 1, 2]),
        ("rgb", [0, 2], [0, 1, 2, 3]),
        ("rgb", [2, 0], [0, 1, 2, 4]),
        ("minisblack", [0], [0, 1]),
        ("minisblack", [2], [0]),
        ("minisblack", [0, 0, 0], [0, 1, 2, 3]),
        ("minisblack", [0, 0, 0, 2], [0, 1, 2, 3]),
    ],
)
def test_only_opacity_is_left_out(
    tmp_path, rng, monkeypatch, lazy, planar, photometric, extra, kept
):
    monkeypatch.setattr(tiffs, "LAZY_BYTES", 0 if lazy else 1 << 30)
    count = len(extra) + (3 if photometric == "rgb" else 1)
    data = rng.integers(1, 255, (count, 40, 50)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        data if planar else np.moveaxis(data, 0, -1),
        photometric=photometric,
        planarconfig="separate" if planar else "contig",
        extrasamples=extra,
    )
    image = read_image(tmp_path / "a.tif")
    assert image.axes == ("cyx" if planar else "yxc")
    found = np.asarray(image.data)
    np.testing.assert_array_equal(found if planar else np.moveaxis(found, -1, 0), data[kept])
    assert image.data.shape == found.shape


def test_a_tiff_that_claims_far_more_than_it_holds_is_refused(tmp_path, rng):
    tifffile.imwrite(tmp_path / "a.tif", rng.integers(0, 255, (64, 64)).astype(np.uint8))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    first = struct.unpack_from("<I", content, 4)[0]
    for entry in range(first + 2, first + 2 + 12 * 3, 12):
        if struct.unpack_from("<H", content, entry)[0] in (256, 257):  # width, height
            struct.pack_into("<HI", content, entry + 2, 4, 1)
            struct.pack_into("<I", content, entry + 8, 2**31 - 1)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ImageError, match=r"is damaged.*bytes of pixels"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("shape", [(128, 128), (100, 60)])
def test_several_images_in_a_file_are_refused(tmp_path, rng, name, shape):
    with tifffile.TiffWriter(tmp_path / name) as file:
        for size in ((128, 128), shape):
            file.write(rng.integers(0, 255, size).astype(np.uint8))
    with pytest.raises(ImageError, match=r"holds 2 images.*\(128, 128\), .*file of its own"):
        read_image(tmp_path / name)


def test_thumbnails_labels_masks_and_levels_are_passed_over(tmp_path, rng):
    data = rng.integers(0, 255, (128, 128)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(data, metadata=None, tile=(64, 64))
        file.write(data > 9, subfiletype=4, metadata=None, tile=(64, 64))
        file.write(data[::2, ::2], subfiletype=1, metadata=None, tile=(64, 64))
    with tifffile.TiffWriter(tmp_path / "b.ome.tif") as file:
        file.write(data, subifds=1)
        file.write(data[::2, ::2], subfiletype=1)
        file.write(data[:30, :30], metadata={"Name": "label"})
    for name in ("a.tif", "b.ome.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name).data, data)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "packbits", "tiff_deflate"])
def test_what_other_programs_compress_by_is_read(tmp_path, compression):
    smooth = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)
    picture = np.stack([smooth, smooth[::-1], smooth // 2], axis=-1)
    Image.fromarray(picture).save(tmp_path / "a.tif", compression=compression)
    data = read_image(tmp_path / "a.tif").data.astype(int)
    assert np.abs(data - picture).max() <= (12 if compression == "jpeg" else 0)


def halved(image, times):
    for _ in range(times):
        rows, columns = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        image = image[:rows, :columns]
        image = (image[::2, ::2] // 2 + image[1::2, 1::2] // 2).astype(image.dtype)
    return image


@pytest.mark.parametrize("colours", [False, True])
def test_a_pyramid_whose_levels_are_images_is_one_image(tmp_path, rng, colours):
    image = rng.integers(0, 255, (611, 805, 3) if colours else (611, 805)).astype(np.uint8)
    image[100:400, 200:500] //= 4
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for times in range(4):
            file.write(halved(image, times), photometric="rgb" if colours else "minisblack")
    read = read_image(tmp_path / "a.ome.tif")
    assert read.axes == ("yxc" if colours else "yx")
    np.testing.assert_array_equal(read.data, image)


@pytest.mark.parametrize("flat", [False, True])
def test_another_image_of_half_the_size_is_no_overview(tmp_path, rng, flat):
    image = rng.integers(0, 255, (200, 300)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(image)
        file.write(image[::2, ::2] * 0 if flat else halved(image, 1)[::-1, ::-1].copy())
    with pytest.raises(ImageError, match="holds 2 images"):
        read_image(tmp_path / "a.ome.tif")
