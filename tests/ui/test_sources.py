"""Any image layer becomes an image of the project, with the right axes."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Image
from napari.layers._source import layer_source
from napari_builtins.io import imread
from PIL import Image as Picture

from napari_cas.errors import ImageError
from napari_cas.protocol import Box
from napari_cas.session import NewImage, projects
from napari_cas.store.readers import read_image
from napari_cas.ui import sources


@pytest.mark.parametrize(
    ("shape", "options", "first"),
    [
        ((8, 9), {}, "yx"),
        ((8, 9, 3), {"rgb": True}, "yxc"),
        ((6, 8, 9), {"rgb": False}, "zyx"),
        ((2, 8, 9), {"rgb": False}, "cyx"),
        ((5, 8, 9, 3), {"rgb": True}, "zyxc"),
        ((9, 6, 8, 9), {"rgb": False}, "tzyx"),
        ((2, 6, 8, 9), {"rgb": False}, "czyx"),
        ((9, 2, 8, 9), {"rgb": False}, "tcyx"),
        ((2, 9, 2, 8, 9), {}, "tzcyx"),
        ((2, 2, 6, 8, 9), {}, "tczyx"),
        ((6, 8, 9), {"rgb": False, "axis_labels": ("t", "y", "x")}, "tyx"),
        ((6, 8, 9), {"rgb": False, "axis_labels": ("Channel", "Y", "X")}, "cyx"),
    ],
)
def test_axes(shape, options, first):
    layer = Image(np.zeros(shape, np.uint8), **options)
    assert sources.readings(layer)[0] == first
    made = sources.new_image(layer)
    assert made.axes == first
    assert len(made.axes) == len(shape) == len(made.scale)


def test_too_many_dimensions_have_no_reading():
    assert sources.readings(Image(np.zeros((1, 1, 1, 1, 4, 4)))) == ()


def test_chosen_axes_and_physical_size():
    layer = Image(np.zeros((6, 8, 9)), rgb=False, scale=(2, 0.5, 0.5), units="um")
    made = sources.new_image(layer, "tyx")
    assert made.axes == "tyx"
    assert made.scale == (2, 0.5, 0.5)
    assert made.units == ("micrometer",) * 3
    assert sources.new_image(Image(np.zeros((4, 4)))).units is None


def test_multiscale_layers_give_their_full_resolution():
    levels = [np.zeros((64, 64)), np.zeros((32, 32))]
    assert sources.new_image(Image(levels, multiscale=True)).data.shape == (64, 64)


@pytest.mark.parametrize(
    "make", [np.asarray, lambda a: da.from_array(a, chunks=4), lambda a: zarr.array(a)]
)
def test_channels_are_stacked_lazily(make):
    arrays = [make(np.full((8, 9), i, np.uint16)) for i in (1, 2)]
    layers = [
        Image(array, name=f"cells [{i}]", blending="additive", scale=(0.5, 0.5))
        for i, array in enumerate(arrays)
    ]
    assert sources.look_like_channels(layers)
    made = sources.new_image_of_channels(layers)
    assert isinstance(made.data, da.Array)
    assert (made.axes, made.name) == ("cyx", "cells")
    assert made.scale == (1.0, 0.5, 0.5)
    assert made.channel_names == ("cells [0]", "cells [1]")
    assert np.asarray(made.data)[:, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize("url", ["memory://far/image.zarr", "memory://far/image.ome.zarr/"])
def test_layers_from_a_url_are_referred_to_not_copied(project, url):
    group = zarr.open_group(url.rstrip("/"), mode="w")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    group.create_array("0", data=pixels)
    axes = [{"name": a, "type": "space"} for a in "yx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": datasets}],
    }
    with layer_source(path=url):
        layer = Image(pixels, name="far")
    made = sources.new_image(layer)
    assert made.source == url
    (name,) = projects.add_images(project, [made], print)
    entry = project.image(name)
    assert entry.source == url
    assert np.array_equal(entry.read((), Box(0, 0, 40, 50))[0], pixels)
    assert not (entry.folder / "0").exists()


@pytest.mark.parametrize("url", ["memory://nowhere/image.zarr", "https://host/picture.png"])
def test_layers_from_a_url_of_something_else_are_copied(project, url):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    with layer_source(path=url):
        made = sources.new_image(Image(pixels, name="far"))
    (name,) = projects.add_images(project, [made], print)
    assert (project.image(name).folder / "0").is_dir()
    with pytest.raises(ImageError):
        projects.add_images(project, [NewImage("gone", source="memory://nowhere/x.zarr")], print)


def test_what_napari_has_split_is_taken_for_channels(model_viewer):
    layers = model_viewer.add_image(np.zeros((3, 8, 9)), channel_axis=0)
    assert sources.look_like_channels(layers)


def test_what_cannot_be_channels():
    grey, other, colour = np.zeros((8, 9)), np.zeros((8, 8)), np.zeros((8, 9, 3), np.uint8)
    assert not sources.same_shape([Image(grey), Image(other)])
    assert not sources.same_shape([Image(grey)])
    assert not sources.same_shape([Image(colour, rgb=True), Image(colour, rgb=True)])
    assert not sources.look_like_channels([Image(grey), Image(grey)])


def test_a_raster_opened_by_napari_has_nan_where_its_file_says_no_data(tmp_path):
    data = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    data[:, 30:] = -9999
    tag = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "dem.tif", data, extratags=tag)
    with layer_source(path=str(tmp_path / "dem.tif")):  # as napari notes it
        layer = Image(data)
    found = sources.new_image(layer)
    assert found.axes == "yx"
    assert np.isnan(found.data[:, 30:]).all()
    np.testing.assert_array_equal(found.data[:, :30], data[:, :30])


def test_a_photograph_opened_by_napari_keeps_its_colours_and_knows_its_border(tmp_path):
    data = np.random.default_rng(0).integers(1, 200, (40, 50, 3)).astype(np.uint8)
    data[:, 30:] = 0
    tag = [(42113, "s", 0, "0", True)]
    tifffile.imwrite(tmp_path / "ortho.tif", data, photometric="rgb", extratags=tag)
    with layer_source(path=str(tmp_path / "ortho.tif")):
        layer = Image(data, rgb=True)
        channels = [Image(data[..., i], name=str(i)) for i in range(3)]
    found = sources.new_image(layer)
    assert (found.no_data, found.axes) == (0, "yxc")
    assert found.data is layer.data
    assert sources.new_image_of_channels(channels).no_data == 0
    assert sources.new_image_of_channels([channels[0], Image(data[..., 1])]).no_data is None


@pytest.mark.parametrize("kind", ["planar.tif", "contig.tif", "map.png"])
def test_what_is_transparent_is_no_data_in_layers_as_in_files(tmp_path, project, kind):
    data = np.random.default_rng(0).integers(1, 200, (4, 40, 50)).astype(np.uint8)
    data[3] = 255
    data[3, :, 30:] = 0
    planar = kind == "planar.tif"
    data = data if planar else np.moveaxis(data, 0, -1)
    path = tmp_path / kind
    if kind == "map.png":
        Picture.fromarray(data).save(path)
    else:
        config = "separate" if planar else "contig"
        tifffile.imwrite(path, data, photometric="rgb", planarconfig=config)
    with layer_source(path=str(path)):
        layer = Image(data, rgb=not planar, name="ortho")
    (name,) = projects.add_images(project, [sources.new_image(layer)], print)
    file = read_image(path)
    other = project.add_image("file", file.data, file.axes, no_data=file.no_data)
    entry = project.image(name)
    assert entry.intensity == other.intensity
    assert entry.intensity.missing == pytest.approx(0.4)
    np.testing.assert_array_equal(entry.levels[0][...], other.levels[0][...])


@pytest.mark.parametrize("named", [None, "3"])
def test_colours_of_a_palette_are_those_of_the_file(tmp_path, project, named):
    rng = np.random.default_rng(0)
    data, path = rng.integers(0, 9, (40, 50)).astype(np.uint8), tmp_path / "map.tif"
    table = rng.integers(256, 65535, (3, 256)).astype(np.uint16)
    tag = [] if named is None else [(42113, "s", 0, named, True)]
    tifffile.imwrite(path, data, photometric="palette", colormap=table, extratags=tag)
    with layer_source(path=str(path)):
        layer = Image(data, name="map", scale=(2, 2))
    (name,) = projects.add_images(project, [sources.new_image(layer)], print)
    file = read_image(path)
    other = project.add_image("file", file.data, file.axes, no_data=file.no_data)
    entry = project.image(name)
    assert (entry.n_channels, entry.label_scale) == (3, (2.0, 2.0))
    assert entry.intensity == other.intensity
    assert bool(entry.intensity.missing) == bool(named)
    np.testing.assert_array_equal(entry.levels[0][...], other.levels[0][...])


def test_bands_beyond_the_colours_are_kept_and_opacity_is_told(tmp_path):
    data = np.random.default_rng(0).integers(1, 200, (40, 50, 4)).astype(np.uint8)
    path = tmp_path / "infrared.tif"
    tifffile.imwrite(path, data, photometric="rgb", extrasamples=[0])
    with layer_source(path=str(path)):
        found = sources.new_image(Image(data, rgb=True))
    assert (found.data.shape, found.opacity) == ((40, 50, 4), None)
    for path in (None, str(tmp_path / "a.png")):
        with layer_source(path=path):
            found = sources.new_image(Image(data, rgb=True))
        assert (found.opacity, found.axes) == (3, "yxc")


def test_pictures_are_turned_neither_by_napari_nor_in_files(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    picture = Picture.fromarray(data)
    exif = picture.getexif()
    exif[274] = 6  # to be turned by a quarter
    picture.save(tmp_path / "a.jpg", exif=exif)
    shown = imread(str(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(shown, read_image(tmp_path / "a.jpg").data)


def test_a_project_of_several_files_is_called_what_their_folder_is(ramp):
    def opened(path):
        with layer_source(path=path):
            return Image(ramp(4, 5), name=path.rsplit("/", 1)[-1])

    one, two, other = map(opened, ("/data/nuclei/a.png", "/data/nuclei/b.png", "/data/c.png"))
    assert sources.title([one]) == "a.png"
    assert sources.title([one, two]) == "nuclei"
    assert sources.title([one, other]) == "a.png"
    assert sources.title([one, Image(ramp(4, 5), name="made")]) == "a.png"


@pytest.mark.parametrize(
    ("options", "axes", "names"),
    [
        (
            {"ome": True, "metadata": {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "Actin"]}}},
            "zcyx",
            ("DAPI", "Actin"),
        ),
        ({"imagej": True, "metadata": {"axes": "ZCYX"}}, "zcyx", None),
        ({"metadata": {"axes": "CTYX"}}, "ctyx", None),
        ({"metadata": None}, "zyx", None),  # planes that are numbered only: as likely as before
    ],
)
def test_a_tiff_opened_by_napari_has_the_axes_that_it_names(tmp_path, options, axes, names):
    data = np.random.default_rng(0).integers(0, 99, (9, 2, 20, 30)).astype(np.uint16)
    path = str(tmp_path / "stack.tif")
    tifffile.imwrite(path, data, photometric="minisblack", **options)
    with layer_source(path=path):
        layer = Image(imread(path))
    offered = sources.readings(layer)
    assert offered[0] == axes
    assert len(set(offered)) == len(offered) > 1  # whoever knows better may say so
    found = sources.new_image(layer)
    assert found.channel_names == names
    assert sources.new_image(layer, offered[-1]).channel_names is None


def test_a_tiff_that_became_other_pixels_says_nothing_of_axes(tmp_path):
    path = str(tmp_path / "stack.ome.tif")
    data = np.zeros((6, 3, 20, 30), np.uint16)
    tifffile.imwrite(path, data, ome=True, metadata={"axes": "ZCYX"})
    with layer_source(path=path):
        assert sources.readings(Image(data.max(0)))[0] == "cyx"
    (tmp_path / "torn.ome.tif").write_bytes(b"II*\0")
    with layer_source(path=str(tmp_path / "torn.ome.tif")):
        assert sources.readings(Image(data))[0] == "tcyx"
