"""Where image layers lie, and which of them labels of the project can lie on."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_cas.session.projects import add_images
from napari_cas.store import Project
from napari_cas.store.export import export
from napari_cas.ui import display, sources
from napari_cas.ui.placing import ORDER, TURNED, first_pixel, misfit, pixel_size, plane_shown

SHEARED = np.array([[1, 0.4, 20], [0, 1.5, 30], [0, 0, 1]])
STRETCHED = np.array([[2, 0, 20], [0, 3, 30], [0, 0, 1]])


def taken(project, layer, axes=""):
    image = sources.new_image(layer, axes)
    (name,) = add_images(project, [image], lambda _: None)
    return project.image(name), image.axes


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, ""),
        ({"scale": (0.1, 0.3), "translate": (1e6, -2e6)}, ""),
        ({"affine": STRETCHED, "scale": (0.1, 0.2), "translate": (5, 6)}, ""),
        ({"rotate": 30, "translate": (300, -500)}, TURNED),
        ({"rotate": 0.1}, TURNED),  # a third of a pixel at the far corner
        ({"shear": (0.2,)}, TURNED),
        ({"affine": SHEARED}, TURNED),
        ({"scale": (-1, 2)}, TURNED),
    ],
)
def test_only_layers_that_labels_would_not_lie_on_are_shown_otherwise(
    project, ramp, options, shown
):
    layer = Image(ramp(200, 160), **options)
    entry, axes = taken(project, layer)
    assert misfit(layer, axes, entry) == shown
    assert entry.translation == first_pixel(layer)
    assert entry.scale == pytest.approx(pixel_size(layer))
    (own,) = display.image_layers(entry)
    assert misfit(own, "", entry) == ""


def test_sizes_and_places_are_taken_as_given(ramp):
    layer = Image(ramp(20, 30), scale=(0.1, 0.3), translate=(1e6 + 0.1, 7))
    assert pixel_size(layer) == (0.1, 0.3)
    assert first_pixel(layer) == (1e6 + 0.1, 7)


@pytest.mark.parametrize(
    ("shape", "axes", "shown"),
    [
        ((3, 2, 20, 30), "tcyx", ORDER),
        ((3, 2, 20, 30), "zcyx", ORDER),
        ((3, 2, 20, 30), "czyx", ""),
        ((3, 4, 20, 30), "tzyx", ""),
        ((3, 4, 2, 20, 30), "tzcyx", ORDER),
        ((3, 2, 4, 20, 30), "tczyx", ORDER),
        ((2, 20, 30), "cyx", ""),
    ],
)
def test_channels_that_are_not_first_shift_the_axes(project, ramp, shape, axes, shown):
    layer = Image(ramp(*shape), translate=np.arange(len(shape)))
    entry, axes = taken(project, layer, axes)
    assert misfit(layer, axes, entry) == shown


def test_axes_in_another_order_do_not_fit(project, ramp):
    layer = Image(ramp(3, 4, 20, 30), axis_labels=("z", "t", "y", "x"))
    entry, axes = taken(project, layer)
    assert (axes, entry.axes) == ("ztyx", "tzyx")
    assert misfit(layer, axes, entry) == ORDER
    assert plane_shown(layer, axes, entry, (2, 1, 0, 0)) == (1, 2)


def test_colour_is_no_axis_of_a_layer(project, ramp):
    colour = Image(ramp(4, 20, 30, 3), rgb=True)
    entry, axes = taken(project, colour, "tyxc")
    assert (axes, misfit(colour, axes, entry)) == ("tyxc", "")


def test_a_stack_of_layers_is_no_axis_of_each(project, ramp):
    parts = [Image(ramp(4, 20, 30), name=f"a{i}", translate=(1, 2, 3)) for i in range(2)]
    image = sources.new_image_of_channels(parts, "tyx")
    (name,) = add_images(project, [image], lambda _: None)
    for part in parts:
        assert misfit(part, image.axes, project.image(name)) == ""
    moved = Image(ramp(4, 20, 30), translate=(1, 2, 4))
    assert misfit(moved, image.axes, project.image(name)) == TURNED


def test_the_plane_looked_at_is_found_in_the_world_of_the_projects_layers(project, ramp):
    layer = Image(ramp(5, 2, 20, 30), scale=(3, 1, 1, 1), translate=(10, 0, 0, 0))
    entry, axes = taken(project, layer, "tcyx")
    assert plane_shown(layer, axes, entry, (16, 1, 5, 5)) == (16,)
    assert plane_shown(layer, axes, entry, (100, 1, 5, 5)) == (22,)  # the last one


def test_the_place_is_kept_in_the_project_and_in_what_is_exported(tmp_path, ramp):
    layer = Image(ramp(20, 30), scale=(0.5, 0.5), translate=(300, -500), units="um", name="tile")
    with Project.create(tmp_path / "p.zarr") as project:
        taken(project, layer)
    with Project.open(tmp_path / "p.zarr", mode="r+") as project:
        entry = project.image("tile")
        assert entry.label_translation == (300, -500)
        assert tuple(display.image_layers(entry)[0].translate) == (300, -500)
        entry.regions[2:5, 2:5] = 1
        export(project, tmp_path / "out.ome.zarr")
    for number, part in enumerate(("out.ome.zarr", "out.ome.zarr/labels/regions")):
        with Project.create(tmp_path / f"{number}.zarr") as other:
            assert other.add_reference("part", tmp_path / part).translation == (300, -500)
