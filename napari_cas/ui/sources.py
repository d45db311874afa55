"""From napari image layers to images of a project: axes, channels, origin. No Qt here."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cas.session import NewImage
from napari_cas.store.rasters import TIFF_SUFFIXES, without_no_data
from napari_cas.store.tiffs import opacity_of, palette_of, said_of_axes
from napari_cas.ui.placing import first_pixel, pixel_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

_READINGS = {
    2: ("yx",),
    3: ("zyx", "tyx", "cyx"),
    4: ("tzyx", "czyx", "tcyx", "zcyx"),
    5: ("tczyx", "tzcyx"),
}
_CHANNELS = 4
"""An axis without a name that is at most so long is more likely of channels than of planes."""


def pixels(layer: Image) -> Any:
    """Return the layer's array at full resolution."""
    return layer.data[0] if layer.multiscale else layer.data


def readings(layer: Image) -> tuple[str, ...]:
    """Return what the layer's dimensions may mean, the likeliest first.

    Parameters
    ----------
    layer : Image
        A layer of 2 to 5 dimensions (the colour axis of an RGB layer not counted).

    Returns
    -------
    tuple of str
        Axis strings such as ``"zyx"``; one for RGB or named axes, none when there is no reading.
        What the TIFF says that the layer was read from comes first: napari keeps it to itself.
    """
    ndim = len(layer.data[0].shape if layer.multiscale else layer.data.shape)
    last = "c" if layer.rgb else ""
    labels = tuple(str(label).lower()[:1] for label in layer.axis_labels)
    full = "".join(labels) + last
    named = len(full) == ndim and len(set(full)) == ndim and set(full) <= set("tczyx")
    if named and labels[-2:] == ("y", "x"):
        return (full,)
    said = _said(layer)[0]
    first = (said,) if said.endswith(f"yx{last}") else ()
    return (*first, *(axes for axes in _guesses(layer, ndim) if axes not in first))


def _guesses(layer: Image, ndim: int) -> list[str]:
    """Return what so many dimensions may mean, the likeliest first."""
    if layer.rgb:
        return [f"{axes}c" for axes in _READINGS.get(ndim - 1, ()) if "c" not in axes]
    shape = pixels(layer).shape
    return sorted(_READINGS.get(ndim, ()), key=lambda axes: _oddities(axes, shape))


def _said(layer: Image) -> tuple[str, tuple[str, ...]]:
    """Return the axes and names of channels by the TIFF that a layer was read from."""
    path = layer.source.path
    if not isinstance(path, str) or Path(path).suffix.lower() not in TIFF_SUFFIXES:
        return "", ()
    return _read_once(path, tuple(pixels(layer).shape))


@lru_cache(maxsize=64)
def _read_once(path: str, shape: tuple[int, ...]) -> tuple[str, tuple[str, ...]]:
    # The panel asks after every click.
    return said_of_axes(path, shape)


def _oddities(axes: str, shape: Sequence[int]) -> int:
    """Return how many axes are of unlikely length: few planes for a stack, or many channels."""
    sizes = zip(axes[:-2], shape, strict=False)
    return sum((size > _CHANNELS) == (axis == "c") for axis, size in sizes)


def axes_for(ndim: int, *, rgb: bool) -> str:
    """Return the likeliest axes of an array of so many dimensions.

    Parameters
    ----------
    ndim : int
        Of the array, colour axis included.
    rgb : bool
        Whether the last axis is colour.
    """
    return _READINGS[ndim - 1][0] + "c" if rgb else _READINGS[ndim][0]


def same_shape(layers: Sequence[Image]) -> bool:
    """Return whether these layers could be channels of one image."""
    shapes = {tuple(pixels(layer).shape) for layer in layers}
    return len(shapes) == 1 and len(layers) > 1 and not any(layer.rgb for layer in layers)


def look_like_channels(layers: Sequence[Image]) -> bool:
    """Return whether these layers were split from one image: additive, or of one file."""
    if not same_shape(layers):
        return False
    paths = {str(layer.source.path) for layer in layers if layer.source.path}
    # napari leaves the lowest channel of an image that it splits translucent.
    additive = sum(str(layer.blending) == "additive" for layer in layers) >= len(layers) - 1
    return additive or (len(paths) == 1 and all(layer.source.path for layer in layers))


def title(layers: Sequence[Image]) -> str:
    """Return what a project of these layers may be called.

    Parameters
    ----------
    layers : sequence of Image
        At least one. Of several files in one folder, it is the folder that says what they are.
    """
    if look_like_channels(layers):
        return _stem(layers)
    folders = {str(Path(layer.source.path).parent) for layer in layers if layer.source.path}
    apart = len(layers) > 1 and all(layer.source.path for layer in layers)
    return (Path(folders.pop()).name if apart and len(folders) == 1 else "") or layers[0].name


def new_image(layer: Image, axes: str = "") -> NewImage:
    """Return the project image of one layer.

    Parameters
    ----------
    layer : Image
        Any image layer.
    axes : str, optional
        What its dimensions mean; by default the likeliest reading.
    """
    options = readings(layer)
    data, no_data = _with_gaps(layer)
    axes = axes if axes in options else (options[0] if options else "yx")
    return NewImage(
        name=layer.name,
        data=data,
        axes=axes,
        scale=_per_axis(pixel_size(layer), axes, rgb=layer.rgb, fill=1.0),
        units=_units(layer, axes),
        translation=_per_axis(first_pixel(layer), axes, rgb=layer.rgb, fill=0.0),
        channel_names=_channel_names(layer, axes, data.shape),
        no_data=no_data,
        opacity=_opacity(layer, data.shape[axes.index("c")] if "c" in axes else 1),
        palette=None if "c" in axes else _palette(layer),
        source=_ome_zarr_source(layer),
    )


def new_image_of_channels(layers: Sequence[Image], axes: str = "") -> NewImage:
    """Return one project image whose channels are these layers, stacked lazily.

    Parameters
    ----------
    layers : sequence of Image
        Layers of one shape.
    axes : str, optional
        What the dimensions of each mean.
    """
    import dask.array as da

    first = new_image(layers[0], axes)
    known = [(first.data, first.no_data), *map(_with_gaps, layers[1:])]
    arrays = [
        array if isinstance(array, da.Array) else da.from_array(array, name=False)
        for array, _ in known
    ]
    axes = first.axes.replace("c", "z") if "c" in first.axes else first.axes
    return NewImage(
        name=_stem(layers),
        data=da.stack(arrays, axis=0),
        axes=f"c{axes}",
        scale=None if first.scale is None else (1.0, *first.scale),
        units=None if first.units is None else ("", *first.units),
        translation=None if first.translation is None else (0.0, *first.translation),
        channel_names=tuple(layer.name for layer in layers),
        no_data=first.no_data if len({value for _, value in known}) == 1 else None,
        source=first.source if look_like_channels(layers) else None,
    )


def _with_gaps(layer: Image) -> tuple[Any, int | None]:
    """Return the layer's array, and what the TIFF it was read from says is no data."""
    data, path = pixels(layer), layer.source.path
    return without_no_data(data, path) if path and isinstance(path, str) else (data, None)


def _opacity(layer: Image, channels: int) -> int | None:
    """Return which channel is the opacity, as files are read; None where none is.

    It says where there are no data. That takes reading all of it, so the window leaves it to the
    thread that takes the image into the project.
    """
    path = layer.source.path
    if isinstance(path, str) and Path(path).suffix.lower() in TIFF_SUFFIXES and channels > 1:
        found = opacity_of(path)
        return found[0] if found and found[1] == channels else None
    return 3 if layer.rgb and channels == 4 else None


def _palette(layer: Image) -> Any:
    """Return the table of colours in which the layer's pixels are places, as files are read."""
    path = layer.source.path
    if not isinstance(path, str) or Path(path).suffix.lower() not in TIFF_SUFFIXES:
        return None
    return palette_of(path) if str(pixels(layer).dtype) in ("uint8", "uint16") else None


def _channel_names(layer: Image, axes: str, shape: Sequence[int]) -> tuple[str, ...] | None:
    """Return what the file calls the channels, if they are what the annotator says they are."""
    said, names = _said(layer)
    fits = axes == said and "c" in axes and len(names) == shape[axes.index("c")]
    return names if fits else None


def _per_axis(values: Sequence[Any], axes: str, *, rgb: bool, fill: Any) -> tuple[Any, ...]:
    """Return one value for each axis; a layer has none for its colour axis."""
    given = [*values, fill] if rgb else list(values)
    return tuple(fill if axis == "c" else value for axis, value in zip(axes, given, strict=True))


def _units(layer: Image, axes: str) -> tuple[str, ...] | None:
    """Return the unit of each axis; None when the layer knows only pixels."""
    units = ["" if str(unit) == "pixel" else str(unit) for unit in layer.units]
    return _per_axis(units, axes, rgb=layer.rgb, fill="") if any(units) else None


def _stem(layers: Sequence[Image]) -> str:
    """Return what the layers' names begin with in common, or the first one's name."""
    names = [layer.name for layer in layers]
    shared = names[0]
    while shared and not all(name.startswith(shared) for name in names):
        shared = shared[:-1]
    return shared.strip(" -_:[(.") or names[0]


def _ome_zarr_source(layer: Image) -> str | None:
    """Return the path of the OME-Zarr image that the layer was read from, if it is one.

    Of a URL only the name is looked at: the window must not wait for an answer. Whether an image is
    there is seen in the thread that takes it into the project.
    """
    path = layer.source.path
    if not path or not isinstance(path, str):
        return None
    if "://" in path:
        return path if path.rstrip("/").lower().endswith(".zarr") else None
    if not Path(path).is_dir():
        return None
    for name, keys in (("zarr.json", ("attributes", "ome")), (".zattrs", ())):
        try:
            meta = json.loads((Path(path) / name).read_text())
            for key in keys:
                meta = meta[key]
            if "multiscales" in meta:
                return path
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
