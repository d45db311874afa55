"""Colours and contrast of channels outlive the window: real layers, a real project on disk."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from napari.layers._source import layer_source
from qtpy.QtCore import Qt

from napari_cas.session.projects import add_images
from napari_cas.store import Project
from napari_cas.store.shown import Shown
from napari_cas.ui import display, sources
from napari_cas.ui.channels import BANDS, colour_table, keep_looks, other_colours, show_as, shown_as


@pytest.fixture
def grey():
    return Image(np.linspace(0, 300, 1200).reshape(30, 40), contrast_limits=(0, 300))


@pytest.mark.parametrize(
    ("colormap", "color", "lut"),
    [
        ("gray", "FFFFFF", ""),
        ("magenta", "FF00FF", ""),
        ("viridis", "FDE725", "viridis"),
        ("gray_r", "000000", "gray_r"),
        ("#FF8000", "FF8000", ""),
    ],
)
def test_colour_tables_come_back(grey, colormap, color, lut):
    grey.colormap = colour_table(color) if colormap.startswith("#") else colormap
    grey.contrast_limits = (20, 120)
    shown = shown_as(grey)
    assert shown == Shown(color, (20, 120), lut)
    other = Image(np.zeros((3, 4)), contrast_limits=(0, 1))
    show_as(other, shown)
    assert tuple(other.contrast_limits) == (20, 120)
    levels = np.linspace(0, 1, 9)
    assert np.allclose(other.colormap.map(levels), grey.colormap.map(levels), atol=0.01)
    assert other.colormap.name == grey.colormap.name


def test_what_nobody_said_leaves_a_layer_as_it_is(grey):
    show_as(grey, Shown(lut="a table of another napari"))
    assert grey.colormap.name == "gray"
    assert tuple(grey.contrast_limits) == (0, 300)


@pytest.fixture
def two_channels(widget, model_viewer, qtbot, ramp):
    """Annotate an image of two channels in colours of the annotator's."""
    for name, colormap in (("actin", "red"), ("dna", "viridis")):
        model_viewer.add_image(
            ramp(40, 50), name=name, colormap=colormap, blending="additive", contrast_limits=(3, 40)
        )
    model_viewer.layers.selection = list(model_viewer.layers)
    qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.session.image is not None, timeout=20_000)
    assert widget.session.image.channel_names == ("actin", "dna")
    return widget.session.project.path


def kept(path):
    with Project.open(path, "r") as project:
        (name,) = project.images
        layers = display.image_layers(project.image(name))
        return [(str(x.colormap.name), tuple(x.contrast_limits)) for x in layers]


def test_colours_and_contrast_outlive_the_project(widget, model_viewer, two_channels):
    model_viewer.layers["dna"].contrast_limits = (5, 30)
    widget.intents.close_project()
    assert kept(two_channels) == [("red", (3, 40)), ("viridis", (5, 30))]


def test_and_the_window(widget, model_viewer, two_channels):
    model_viewer.layers["actin"].colormap = "cyan"
    widget.shut_down()
    assert kept(two_channels)[0] == ("cyan", (3, 40))


def test_and_napari_s_taking_all_layers_out_first(widget, model_viewer, two_channels):
    model_viewer.layers["actin"].colormap = "cyan"
    model_viewer.layers.clear()  # as Viewer.close does
    widget.shut_down()
    assert kept(two_channels)[0] == ("cyan", (3, 40))


def test_and_layers_of_the_project_s_own_are_remembered_as_well(
    widget, model_viewer, two_channels, qtbot
):
    widget.intents.close_project()
    model_viewer.layers.clear()
    widget.intents.open_project(two_channels)
    layer = widget.layers.sight.added[1]
    assert layer.colormap.name == "viridis"
    layer.colormap = "yellow"
    layer.contrast_limits = (1, 20)
    widget.intents.close_project()
    assert kept(two_channels) == [("red", (3, 40)), ("yellow", (1, 20))]


def test_an_export_has_them_at_once(widget, model_viewer, two_channels, tmp_path, qtbot):
    from napari_cas.store.files import read_group

    model_viewer.layers["actin"].colormap = "blue"
    widget.intents.export(tmp_path / "out.zarr")
    widget.session.wait_for_exports()
    channels = read_group(tmp_path / "out.zarr")["ome"]["omero"]["channels"]
    assert [c["color"] for c in channels] == ["0000FF", "FDE725"]
    assert channels[1]["lut"] == "viridis"


def test_without_a_layer_for_each_channel_nothing_changes(widget, model_viewer, two_channels):
    model_viewer.layers.remove("dna")
    model_viewer.layers["actin"].colormap = "blue"
    widget.intents.close_project()
    assert kept(two_channels) == [("red", (3, 40)), ("viridis", (3, 40))]


@pytest.mark.parametrize(
    ("names", "colors", "one"),
    [
        (None, None, True),  # nobody says anything of it
        (["Red", "Green", "Blue"], None, True),
        (["red", "green", "blue"], ["cyan", "magenta", "yellow"], False),
        (["dna", "actin", "tubulin"], None, False),
        (["dna", "actin", "tubulin"], ["blue", "red", "green"], False),
    ],
)
def test_three_stains_of_8_bits_are_no_photograph(tmp_path, names, colors, one):
    pixels = np.arange(3 * 40 * 50, dtype=np.uint8).reshape(3, 40, 50)
    with Project.create(tmp_path / "p.zarr") as project:
        entry = project.add_image("cell", pixels, "cyx", channel_names=names)
        if colors:
            made = [Image(plane, colormap=c) for plane, c in zip(pixels, colors, strict=True)]
            keep_looks(entry, made)
        layers = display.image_layers(project.image(entry.name))
        assert [layer.rgb for layer in layers] == ([True] if one else [False] * 3)
        if colors:
            assert [layer.colormap.name for layer in layers] == colors


@pytest.mark.parametrize(
    ("shape", "dtype", "top", "shown"),
    [
        ((30, 40, 3), np.uint8, 255, ""),
        ((30, 40, 3), np.uint8, 20, ""),
        ((30, 40, 4), np.uint8, 255, ""),  # the fourth is its opacity
        ((30, 40, 3), np.uint16, 60_000, ""),
        ((30, 40, 3), np.uint16, 4000, BANDS),
        ((30, 40, 3), np.float32, 1, ""),
        ((30, 40, 3), np.float32, 255, BANDS),
        ((30, 40, 3), np.float32, 0.1, BANDS),
    ],
)
def test_a_picture_is_what_can_be_seen_as_one(project, shape, dtype, top, shown):
    values = np.linspace(0, top, np.prod(shape)).reshape(shape).astype(dtype)
    if shape[-1] == 4:
        values[..., 3] = 255
    layer = Image(values, name="raster", rgb=True)
    (name,) = add_images(project, [sources.new_image(layer)], lambda _: None)
    assert other_colours(layer, "yxc", project.image(name)) == shown


def test_bands_of_a_raster_are_seen(widget, model_viewer, qtbot, tmp_path):
    bands = np.linspace(0, 4000, 40 * 50 * 4).reshape(40, 50, 4).astype(np.uint16)
    path = tmp_path / "raster.tif"
    tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="contig")
    with layer_source(path=str(path)):
        own = model_viewer.add_image(bands, name="raster")
    assert own.rgb  # as napari has it
    widget.intents.start()
    qtbot.waitUntil(lambda: widget.session.image is not None, timeout=20_000)
    layers = [layer for layer in model_viewer.layers if isinstance(layer, Image)]
    assert [layer.colormap.name for layer in layers[:3]] == ["red", "green", "blue"]
    assert [layer.visible for layer in layers] == [True, True, True, False]
    assert max(layer.contrast_limits[1] for layer in layers) <= 4000
    assert "channel by channel" in widget.panel.train.status.text()
    widget.intents.close_project()
    assert list(model_viewer.layers) == [own]
    model_viewer.layers.clear()
    widget.intents.open_project(tmp_path / "home" / "raster.zarr")
    again = [layer for layer in model_viewer.layers if isinstance(layer, Image)]
    assert [layer.visible for layer in again] == [True, True, True, False]
