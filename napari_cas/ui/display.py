"""Make napari layers of a project's pixels: images at all resolutions, and results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pint
from napari.layers import Image, Labels

from napari_cas.store.metadata import channel_color
from napari_cas.store.shown import in_true_colour
from napari_cas.ui.channels import colour_table, show_as
from napari_cas.ui.kinds import features
from napari_cas.ui.looks import (
    PREDICTION_OPACITY,
    REGIONS_OPACITY,
    brush_size,
    prediction_colours,
    region_colours,
)

if TYPE_CHECKING:
    from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

    from napari_cas.store import ImageEntry
    from napari_cas.ui.frame import Frame


def place(entry: ImageEntry) -> dict[str, Any]:
    """Return what napari's layers on an image have in common: where they lie, and their axes.

    Parameters
    ----------
    entry : ImageEntry
        Units that napari does not know count as pixels, as does no unit.
    """
    known = pint.application_registry
    units = (
        unit if unit and unit.isidentifier() and unit in known else "pixel"
        for unit in entry.label_units
    )
    return {
        "scale": entry.label_scale,
        "translate": entry.label_translation,
        "axis_labels": tuple(entry.label_axes),
        "units": tuple(units),
    }


def image_layers(entry: ImageEntry) -> list[Image]:
    """Return layers that show an image of the project: one if grey or colour, else one a channel.

    Parameters
    ----------
    entry : ImageEntry
        Stored in the order t, c, z, y, x, at several resolutions.
    """
    levels = [_lazy(level) for level in entry.levels]
    limits = list(zip(entry.intensity.low, entry.intensity.high, strict=True))
    if "c" not in entry.axes:
        return _as_shown([_grey(entry.name, levels, limits[0], place(entry))], entry)
    axis = entry.axes.index("c")
    if in_true_colour(entry):
        import dask.array as da

        colour = [da.moveaxis(level, axis, -1) for level in levels]
        return [Image(_one_or_all(colour), name=entry.name, rgb=True, **place(entry))]
    if entry.n_channels == 1:
        only = [_channel(level, axis, 0) for level in levels]
        return _as_shown([_grey(entry.name, only, limits[0], place(entry))], entry)
    names = entry.channel_names or [str(i) for i in range(entry.n_channels)]
    layers = []
    for index, (name, limit) in enumerate(zip(names, limits, strict=True)):
        channel = [_channel(level, axis, index) for level in levels]
        title = name if name.startswith(entry.name) else f"{entry.name} {name}"
        layer = _grey(title, channel, limit, place(entry))
        layer.colormap = colour_table(channel_color(index))
        layer.blending = "additive"
        layers.append(layer)
    return _as_shown(layers, entry)


def _as_shown(layers: list[Image], entry: ImageEntry) -> list[Image]:
    """Show channels as was said of them, by the annotator or whoever made the image."""
    for layer, shown in zip(layers, entry.shown, strict=True):
        show_as(layer, shown)
    return layers


def regions_layer(entry: ImageEntry, frame: Frame) -> Labels:
    """Return the layer of strokes, as far as `frame` goes."""
    return _labels("regions", entry, frame, region_colours(), REGIONS_OPACITY)


def prediction_layer(entry: ImageEntry, frame: Frame) -> Labels:
    """Return the layer of the prediction, as far as `frame` goes."""
    layer = _labels("prediction", entry, frame, prediction_colours(), PREDICTION_OPACITY)
    layer.features = features(entry.naming)
    return layer


def _labels(
    name: str,
    entry: ImageEntry,
    frame: Frame,
    colours: CyclicLabelColormap | DirectLabelColormap,
    opacity: float,
) -> Labels:
    layer = Labels(
        frame.data(entry.regions if name == "regions" else entry.prediction_view),
        name=name,
        opacity=opacity,
        colormap=colours,
        **{**place(entry), "translate": frame.translate},
        visible=False,  # until it is in the viewer, see looks.reveal
    )
    layer.brush_size = brush_size(*entry.plane_size)
    return layer


def extra_layer(kind: str, data: Any, entry: ImageEntry) -> Image:
    """Return the optional layer of a kind.

    Parameters
    ----------
    kind : {"probabilities", "uncertainty"}
        Probabilities get a slider for the channel.
    data : array-like
        ``(K, *label_shape)`` or ``label_shape``, in 0–1.
    entry : ImageEntry
        The image that it belongs to.
    """
    where = place(entry)
    if kind == "probabilities":
        first = {"scale": 1.0, "translate": 0.0, "axis_labels": "channel", "units": "pixel"}
        where = {key: (first[key], *values) for key, values in where.items()}
    colormap = "viridis" if kind == "probabilities" else "magma"
    return Image(
        data,
        name=kind,
        **where,
        colormap=colormap,
        contrast_limits=(0, 1),
        opacity=0.6,
        blending="translucent",
    )


def _grey(
    name: str, levels: list[Any], limits: tuple[float, float], where: dict[str, Any]
) -> Image:
    low, high = float(limits[0]), float(limits[1])
    contrast = (low, high) if high > low else (low, low + 1)
    return Image(_one_or_all(levels), name=name, contrast_limits=contrast, **where)


def _lazy(level: Any) -> Any:
    import dask.array as da

    return level if isinstance(level, da.Array) else da.from_zarr(level)


def _channel(level: Any, axis: int, index: int) -> Any:
    return level[(slice(None),) * axis + (index,)]


def _one_or_all(levels: list[Any]) -> Any:
    """Return all levels of a pyramid, or the array itself where there is only one."""
    return levels if len(levels) > 1 else levels[0]
