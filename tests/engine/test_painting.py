import numpy as np
import pytest

from napari_cas.engine.painting import (
    MARKS,
    check_regions,
    digest_of,
    marks_of,
    name_regions,
    paint_of,
    painted_tiles,
    regions_off_data,
    still_painted,
)
from napari_cas.engine.sources import ArraySource
from napari_cas.errors import RegionError

from .conftest import painted, source


def test_tiles_without_paint_are_not_touched():
    regions = np.zeros((1024, 1024), int)
    regions[600, 600:700] = 5
    tiles = painted_tiles([source(regions), source(np.zeros((50, 50), int), "b")], 256)
    assert [t.source.name for t in tiles] == ["a"]
    assert sum(int((t.regions == 5).sum()) for t in tiles) == 100


def test_what_cannot_teach_is_said():
    with pytest.raises(RegionError, match="Nothing is painted"):
        check_regions([])
    one = painted_tiles([source(painted() == 7)], 512)
    with pytest.raises(RegionError, match="Only one region"):
        check_regions(one)
    apart = painted_tiles([source(painted() == 7), source(painted() == 3, "b")], 512)
    with pytest.raises(RegionError, match="no two on one plane"):
        check_regions(apart)
    assert check_regions(painted_tiles([source(painted())], 512)) == 3


def test_the_digest_follows_the_paint():
    first, moved = painted(), painted()
    moved[10, 10] = 0
    digests = [digest_of(painted_tiles([source(r)], 512)) for r in (first, first.copy(), moved)]
    assert digests[0] == digests[1] != digests[2]


def test_marks_are_some_pixels_of_each_id_and_tell_what_is_left_of_it():
    regions = painted()
    whole, parts = (painted_tiles([source(regions)], size) for size in (512, 64))
    for tiles in (whole, parts):
        marks = marks_of(tiles)
        ids, count = np.unique(marks[:, 0], return_counts=True)
        assert ids.tolist() == np.unique(regions[regions > 0]).tolist()
        assert (count <= MARKS).all()
        assert (regions[marks[:, 1], marks[:, 2]] == marks[:, 0]).all()
        assert still_painted(marks, whole) == still_painted(marks, parts) == set(ids.tolist())
    gone = np.where(regions == ids[0], 0, regions)
    assert still_painted(marks, painted_tiles([source(gone)], 64)) == set(ids[1:].tolist())
    assert still_painted(marks, []) == set()


def test_what_is_painted_on_a_plane_is_told_by_its_pixels_not_its_tiles():
    regions = painted()
    exchanged = np.where(regions == 7, 3, np.where(regions == 3, 7, regions))
    first, cut, other = (
        paint_of(painted_tiles([source(r)], size))
        for r, size in ((regions, 512), (regions, 64), (exchanged, 64))
    )
    assert first == cut != other


def test_regions_painted_only_where_there_are_no_data_are_found():
    image = np.random.default_rng(0).random((1, 200, 300))
    image[:, 5:30], image[:, 100:102] = np.nan, np.nan
    gappy = ArraySource("a", image, painted())
    whole = source(painted(), "b")
    tiles = painted_tiles([gappy, whole], 64)
    assert regions_off_data(tiles, [gappy, whole]) == [("a", (), 7)]
    assert check_regions(tiles) == 5


def test_some_regions_are_named():
    assert name_regions([("cells", (2, 0), 7)]) == "Region 7 of cells, plane 2, 0"
    many = name_regions([("a", (), n) for n in range(1, 6)])
    assert many == "Regions 1 of a; 2 of a; 3 of a; …"


def test_a_region_is_named_by_the_title_of_its_image_in_the_order_of_names():
    image = np.random.default_rng(0).random((1, 200, 300))
    image[:, 5:30], image[:, 100:102] = np.nan, np.nan
    sources = [ArraySource(f"{i:02d}", image, painted(), title=f"images[{i}]") for i in (2, 10)]
    found = regions_off_data(painted_tiles(sources, 64), sources)
    assert found == [("images[2]", (), 7), ("images[10]", (), 7)]
    assert name_regions(found) == "Regions 7 of images[2]; 7 of images[10]"
