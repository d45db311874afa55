"""How our layers look, and what of it survives when the image is changed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

_REGION_COLOURS = (
    "FF2D95", "00E5FF", "FFE600", "7CFF01", "FF5A1F", "9D5CFF",
    "FFFFFF", "00FFB3", "FF9AF5", "3D7BFF", "C6A700", "FF4D4D",
)  # fmt: skip
PREDICTION_OPACITY = 0.45
REGIONS_OPACITY = 0.9


@dataclass(frozen=True, slots=True)
class Look:
    """What the annotator may have changed on a Labels layer and wants to keep.

    Attributes
    ----------
    mode : str or None
        Tool in hand, such as ``"paint"``; None where nothing could be painted, and napari took it.
    brush_size : int or None
        In data pixels; None where it is the usual one, which depends on the image.
    opacity, contour, visible, blending, n_edit_dimensions, preserve_labels, contiguous
        As in napari.
    """

    mode: str | None
    brush_size: int | None
    opacity: float
    contour: int
    visible: bool
    blending: str
    n_edit_dimensions: int
    preserve_labels: bool
    contiguous: bool

    @classmethod
    def of(cls, layer: Labels, plane_size: tuple[int, int]) -> Look:
        """Return the look of a layer on planes of this size."""
        values = {field.name: getattr(layer, field.name) for field in fields(cls)}
        mode = str(layer.mode) if layer.editable else None
        values |= {"mode": mode, "blending": str(layer.blending)}
        if layer.brush_size == brush_size(*plane_size):
            values["brush_size"] = None
        return cls(**values)

    def give(self, layer: Labels) -> None:
        """Make `layer` look like this; the mode last, as napari resets it with others."""
        for field in reversed(fields(self)):
            value: Any = getattr(self, field.name)
            if field.name == "n_edit_dimensions":
                value = min(value, layer.ndim)
            if value not in (
                None,
                getattr(layer, field.name),
            ):  # napari draws anew even for what it has
                setattr(layer, field.name, value)


def reveal(layer: Labels, look: Look | None, mode: str) -> None:
    """Show a layer that was made invisible and added since, so that it is drawn once.

    Parameters
    ----------
    layer : Labels
        Of 4096 × 4096 labels, each drawing takes napari a tenth of a second.
    look : Look or None
        How it is to look, if that is known from before.
    mode : str
        Tool in hand if not.
    """
    layer.visible = True
    # Only now: napari's tool buttons follow the events of a visible layer that is in the list.
    layer.mode = mode
    if look is not None:
        look.give(layer)


_TAKEN = ("contrast_limits", "gamma", "colormap", "opacity", "blending", "interpolation2d")


def resemble(layer: Image, model: Image) -> None:
    """Show the same pixels in the contrast and the colours that the annotator chose for them.

    Parameters
    ----------
    layer : Image
        Not in the viewer yet.
    model : Image
        The annotator's.
    """
    if layer.rgb == model.rgb:
        for name in _TAKEN[3 if layer.rgb else 0 :]:
            setattr(layer, name, getattr(model, name))


def brush_size(height: int, width: int) -> int:
    """Return a brush of about a sixtieth of the shorter side, 3 to 40 pixels.

    Parameters
    ----------
    height, width : int
        Size of the plane in pixels.
    """
    return int(np.clip(round(min(height, width) / 60), 3, 40))


def brush_colour(layer: Labels) -> tuple[float, float, float, float] | None:
    """Return the colour that a layer's brush paints in (RGBA, 0–1), None for the eraser."""
    colour = layer.get_color(layer.selected_label)
    return None if colour is None else tuple(float(part) for part in colour)  # type: ignore[return-value]


def region_colours() -> CyclicLabelColormap:
    """Return the colours of strokes: bright, and none of the prediction's first ones.

    A stroke's colour says which strokes belong together and nothing more. The prediction's colours
    stay apart from them, lest a stroke seem to be meant by the segment that has its colour.
    """
    from napari.utils.colormaps import CyclicLabelColormap

    rgba = [[int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)] + [1.0] for text in _REGION_COLOURS]
    return CyclicLabelColormap(
        colors=np.asarray([[0, 0, 0, 0], *rgba], dtype=np.float32), background_value=0
    )


def prediction_colours(channels: int = 255) -> DirectLabelColormap:
    """Return the colours of a prediction: the same for a label in every round and every image.

    Parameters
    ----------
    channels : int
        Labels 1 to `channels` get a colour of their own.
    """
    from napari.utils.colormaps import DirectLabelColormap

    from napari_cas.store.colors import label_color

    table: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for label in range(1, channels + 1):
        table[label] = np.asarray(label_color(label), dtype=np.float32) / 255
    return DirectLabelColormap(color_dict=table)
