"""Metadata of other programs is understood or refused with a reason."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cas.errors import CASError, ImageError, ProjectFormatError
from napari_cas.store import metadata


def _attributes(axes, transforms=None, **more):
    transforms = transforms or [{"type": "scale", "scale": [1.0] * len(axes)}]
    return {
        "ome": {
            "version": "0.5",
            "multiscales": [
                {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}
            ],
            **more,
        }
    }


def test_what_is_written_is_read_back():
    entry = metadata.multiscales(
        "n", "tcyx", ["0", "1"], (3, 1, 0.5, 0.25), ("second", None, "micrometer", None)
    )
    meta = metadata.parse({"ome": {"multiscales": [entry]}}, "here")
    assert (meta.axes, meta.scale, meta.paths) == ("tcyx", (3, 1, 0.5, 0.25), ("0", "1"))
    assert meta.units == ("second", None, "micrometer", None)
    shift = entry["datasets"][1]["coordinateTransformations"][1]
    assert shift == {"type": "translation", "translation": [0, 0, 0.25, 0.125]}


def test_the_place_of_the_first_pixel_is_written_and_read_back_on_all_levels():
    entry = metadata.multiscales(
        "n", "yx", ["0", "1"], (0.5, 0.25), (None, None), translation=(300, -500)
    )
    meta = metadata.parse({"ome": {"multiscales": [entry]}}, "here")
    assert (meta.scale, meta.translation) == ((0.5, 0.25), (300, -500))
    shifts = [level["coordinateTransformations"][1]["translation"] for level in entry["datasets"]]
    assert shifts == [[300, -500], [300.25, -499.875]]


def test_what_the_image_says_of_its_place_comes_after_what_the_data_set_says():
    both = [{"type": "scale", "scale": [2, 2]}, {"type": "translation", "translation": [10, 20]}]
    attributes = _attributes(["x", "y"], both)
    attributes["ome"]["multiscales"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [0.5, 1]},
        {"type": "translation", "translation": [1, 2]},
    ]
    meta = metadata.parse(attributes, "here")
    assert (meta.axes, meta.scale, meta.translation) == ("yx", (2, 1), (22, 6))


@pytest.mark.parametrize("place", [[1.0], ["a", 1], [float("inf"), 1], [float("nan"), 1]])
def test_a_place_that_is_none_is_refused(place):
    attributes = _attributes(["y", "x"], [{"type": "translation", "translation": place}])
    with pytest.raises(ProjectFormatError):
        metadata.parse(attributes, "here")


def test_axes_named_otherwise_are_recognised_by_type():
    axes = [
        {"name": "Time", "type": "time"},
        {"name": "ch", "type": "channel"},
        {"name": "Y", "type": "space"},
        {"name": "X", "type": "space"},
    ]
    assert metadata.parse(_attributes(axes), "here").axes == "tcyx"
    assert metadata.parse(_attributes(["y", "x"]), "here").axes == "yx"  # OME-Zarr 0.3
    with pytest.raises(ImageError, match="angle"):
        metadata.parse(_attributes([{"name": "angle"}, {"name": "y"}, {"name": "x"}]), "here")


def test_scales_of_data_set_and_image_multiply():
    attributes = _attributes(["y", "x"], [{"type": "scale", "scale": [2.0, 3.0]}])
    attributes["ome"]["multiscales"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [0.5, 0.5]}
    ]
    assert metadata.parse(attributes, "here").scale == (1.0, 1.5)


@pytest.mark.parametrize("scale", [[1.0], [0, 1], [-1, 1], ["a", 1], [float("inf"), 1], None])
def test_unusable_scales_are_refused(scale):
    with pytest.raises(ProjectFormatError):
        metadata.parse(_attributes(["y", "x"], [{"type": "scale", "scale": scale}]), "here")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["multiscales", "axes", "datasets", "path", "name", "type", "scale", "ome"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON, JSON, JSON)
def test_any_json_is_understood_or_a_typed_error(axes, datasets, omero):
    attributes = {"ome": {"multiscales": [{"axes": axes, "datasets": datasets}], "omero": omero}}
    for candidate in (attributes, {"ome": axes}, {"multiscales": datasets}):
        with contextlib.suppress(CASError):
            metadata.parse(candidate, "here")
