import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_cas.cli import files, pictures
from napari_cas.errors import ImageError, InputError, RegionError
from napari_cas.session import NewImage
from napari_cas.store import Project
from napari_cas.store.export import export


def write(path, array):
    imageio.imwrite(path, array)
    return str(path)


def test_a_folder_stands_for_its_images(tmp_path):
    for name in ("b.png", "a.png"):
        write(tmp_path / name, np.zeros((4, 4), np.uint8))
    (tmp_path / "notes.txt").touch()
    found = files.find_images([str(tmp_path)])
    assert found == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="No images"):
        files.find_images([str(tmp_path / "empty")])


def test_what_is_no_image_in_a_folder_is_left(tmp_path):
    image = write(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "._a.png").touch()  # macOS leaves these on other disks
    Project.create(tmp_path / "p.zarr").close()
    Project.create(tmp_path / "out.unfinished.zarr").close()
    assert files.find_images([str(tmp_path)]) == [image]


def test_an_image_that_may_not_be_looked_at_is_left_to_the_reader():
    paths = ["a" * 300 + ".png", "b.png"]
    assert files.find_images(paths) == paths


def test_an_exported_collection_stands_for_its_images(entry, tmp_path):
    with Project.create(tmp_path / "q.zarr") as project:
        for name in ("a", "b"):
            project.add_image(name, np.arange(600, dtype=np.uint8).reshape(20, 30), "yx")
        export(project, tmp_path / "all.ome.zarr")
    found = files.find_images([str(tmp_path / "all.ome.zarr")])
    assert found == files.find_images([str(tmp_path)])
    assert [files.as_new_image(path).name for path in found] == ["a", "b"]


def test_an_empty_name_is_not_the_folder_one_is_in(tmp_path, monkeypatch):
    write(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="empty name"):
        files.find_images([""])


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("make", [zarr.create_group, zarr.create_array])
def test_a_folder_of_zarr_is_one_image_whatever_it_is_called(tmp_path, zarr_format, make):
    options = {"shape": (4, 4), "dtype": "u1"} if make is zarr.create_array else {}
    make(str(tmp_path / "cells"), zarr_format=zarr_format, **options)
    assert files.find_images([str(tmp_path / "cells")]) == [str(tmp_path / "cells")]


def test_whatever_is_read_alone_is_found_in_a_folder(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    for suffix in (".png", ".JPG", ".webp", ".gif", ".ppm", ".tga"):
        write(tmp_path / f"a{suffix}", image)
    for suffix in (".tif", ".btf", ".svs", ".lsm", ".stk"):
        tifffile.imwrite(tmp_path / f"a{suffix}", image, photometric="rgb")
    found = files.find_images([str(tmp_path)])
    assert len(found) == 11
    for path in found:
        assert files.as_new_image(path).axes.endswith("yxc")


def test_pairs_are_found_by_name():
    pairs = files.pair(["x/a.png", "x/ab.png"], ["y/ab_regions.tif", "y/a_regions.tif"])
    assert pairs == [("x/a.png", "y/a_regions.tif"), ("x/ab.png", "y/ab_regions.tif")]
    assert files.pair(["a.png"], ["anything.npy"]) == [("a.png", "anything.npy")]
    with pytest.raises(InputError, match=r"belong to b\.png"):
        files.pair(["a.png", "b.png"], ["a.tif", "c.tif"])


def test_a_map_is_of_the_image_with_the_longest_fitting_name():
    images = ["a.png", "a_2.png", "a_2-b.ome.tif", "http://host/c.zarr/"]
    maps = ["a_2_regions.png", "a_regions.png", "a_2-b.regions.png", "c.tif"]
    assert files.pair(images, maps) == list(
        zip(images, [maps[1], maps[0], maps[2], maps[3]], strict=True)
    )
    with pytest.raises(InputError, match=r"belong to a\.png.*a_1\.png, a_2\.png"):
        files.pair(["a.png", "b.png"], ["a_1.png", "a_2.png"])


@pytest.mark.parametrize("others", [[], ["b.png", "b_regions.png"]])
def test_an_image_is_not_its_own_map(others):
    with pytest.raises(InputError, match=r"cannot be an image and a map.*a\.png"):
        files.pair(["a.png", *others], ["a.png", *others])


def test_an_error_names_its_file_once():
    named = files.naming(ImageError("a.png cannot be read", got="nothing"), "a.png")
    assert str(named) == "a.png cannot be read: got nothing."
    named = files.naming(ImageError("The image is constant"), "a.png")
    assert str(named) == "a.png: The image is constant."


@pytest.fixture
def entry(tmp_path):
    with Project.create(tmp_path / "p.zarr") as project:
        yield project.add_image("a", np.arange(600, dtype=np.uint8).reshape(20, 30), "yx")


@pytest.mark.parametrize("axes", ["yx", "cyx", "zyxc"])
def test_constant_images_are_refused_but_for_what_holds_no_data(axes):
    flat = np.full((2, 600, 500, 3)[-len(axes) :], 7, np.uint8)
    gappy, differing = (
        np.where(np.arange(flat.size).reshape(flat.shape) > 9, flat, np.nan),
        flat.copy(),
    )
    differing.flat[-1] = 8
    for image in (NewImage("a", flat, axes), NewImage("a", gappy, axes)):
        with pytest.raises(ImageError, match=r"a is constant.*got 7 everywhere"):
            files.refuse_constant(image)
    files.refuse_constant(NewImage("a", differing, axes))
    marked = np.moveaxis(flat.copy(), axes.index("y"), 0)
    marked[0] = 0
    marked = np.moveaxis(marked, 0, axes.index("y"))
    files.refuse_constant(NewImage("a", marked, axes))
    with pytest.raises(ImageError, match=r"a is constant.*got 7 everywhere"):
        files.refuse_constant(NewImage("a", marked, axes, no_data=0))
    files.refuse_constant(NewImage("a", np.full_like(gappy, np.nan), axes))  # no data: said later


def test_a_picture_of_one_colour_is_constant():
    colour = np.full((40, 50, 3), (255, 0, 9), np.uint8)
    with pytest.raises(ImageError, match=r"a is constant.*got 255, 0, 9 everywhere"):
        files.refuse_constant(NewImage("a", colour, "yxc"))
    colour[20, 20, 1] = 1
    files.refuse_constant(NewImage("a", colour, "yxc"))


def test_a_map_is_painted(entry, tmp_path):
    regions = np.zeros((20, 30), np.uint8)
    regions[2:5, 2:5], regions[10:12, 3:9] = 1, 7
    assert files.paint(entry, write(tmp_path / "r.png", regions)) == 2
    assert np.array_equal(np.asarray(entry.regions[...]), regions)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("hidden", [{}, {"transparency": 0}])
def test_indices_of_a_palette_are_the_ids(entry, tmp_path, bits, hidden):
    regions = np.zeros((20, 30), np.uint8)
    regions[2:5, 2:5], regions[10:12, 3:9] = 1, 7
    picture = Image.fromarray(regions, "P")
    picture.putpalette(np.random.default_rng(0).integers(0, 255, 16 * 3).astype(np.uint8).tobytes())
    picture.save(tmp_path / "r.png", bits=bits, **hidden)
    assert files.paint(entry, str(tmp_path / "r.png")) == 2
    assert np.array_equal(np.asarray(entry.regions[...]), regions)


def test_a_map_compressed_as_jpeg_is_refused(entry, tmp_path):
    page = tmp_path / "r.tif"
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(page, compression="jpeg")
    with pytest.raises(RegionError, match="a JPEG"):
        files.paint(entry, str(page))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("unpainted", ["0", "-1", "99"])
def test_no_data_in_a_map_is_unpainted(entry, tmp_path, dtype, unpainted):
    regions = np.zeros((20, 30), dtype)
    regions[2:5, 2:5], regions[10:12, 3:9] = 1, 7
    hole = int(unpainted) if np.iinfo(dtype).min <= int(unpainted) else 0
    path = tmp_path / "r.tif"
    tag = [(42113, "s", 0, unpainted, True)]
    tifffile.imwrite(path, np.where(regions == 0, dtype(hole), regions), extratags=tag)
    assert files.paint(entry, str(path)) == 2
    assert np.array_equal(np.asarray(entry.regions[...]), regions)


def test_floats_that_are_whole_are_ids(entry, tmp_path):
    regions = np.zeros((20, 30), np.float32)
    regions[2:5, 3:9], regions[10:12, 3:9] = 7, np.nan
    np.save(tmp_path / "r.npy", regions)
    assert files.paint(entry, str(tmp_path / "r.npy")) == 1
    assert np.array_equal(np.asarray(entry.regions[...]), np.nan_to_num(regions))


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        ("shape.png", np.zeros((20, 31), np.uint8), "does not fit"),
        ("colour.png", np.zeros((20, 30, 3), np.uint8), "colours.*Save the number of each"),
        ("jpeg.jpg", np.zeros((20, 30), np.uint8), "a JPEG.*Save the map as PNG"),
        ("called.png.jpeg", np.zeros((20, 30, 3), np.uint8), "a JPEG"),
        ("planes.npy", np.zeros((2, 20, 30), np.uint8), "axes zyx"),
        ("floats.npy", np.full((20, 30), 0.5), "does not fit"),
        ("infinite.npy", np.full((20, 30), np.inf), "does not fit"),
        ("negative.npy", np.full((20, 30), -1), "out of range"),
        ("huge.npy", np.full((20, 30), 2**40), "out of range"),
    ],
)
def test_maps_that_do_not_fit_are_refused(entry, tmp_path, name, array, match):
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, array)
    else:
        write(path, array)
    with pytest.raises(RegionError, match=match):
        files.paint(entry, str(path))


def test_a_file_that_is_none_says_so(tmp_path):
    with pytest.raises(ImageError, match="No such image"):
        files.as_new_image(str(tmp_path / "none.png"))


def test_projects_are_told_from_other_folders(entry, tmp_path):
    assert files.is_project(tmp_path / "p.zarr")
    assert not files.is_project(tmp_path)
    assert not files.is_project(tmp_path / "nothing")


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_the_picture_shows_all_three_side_by_side(channels):
    image = np.random.default_rng(0).integers(0, 4000, (channels, 20, 30))
    regions, prediction = np.zeros((2, 20, 30), int)
    regions[3, 3] = 1
    prediction[:] = 2
    picture = pictures.side_by_side(image, regions, prediction)
    assert picture.shape == (20, 3 * 30 + 2 * pictures.GAP, 3)
    assert picture.dtype == np.uint8
    assert tuple(picture[3, 30 + pictures.GAP + 3]) == (230, 159, 0)
    assert (picture[:, 30 : 30 + pictures.GAP] == 255).all()
