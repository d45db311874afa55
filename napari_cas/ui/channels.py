"""Colours and contrast of image layers, to and from what a project keeps of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import AVAILABLE_COLORMAPS

from napari_cas.errors import CASError
from napari_cas.store.shown import Shown, keep_shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from napari.utils.colormaps import Colormap

    from napari_cas.store import ImageEntry

_NAMED = {
    "FFFFFF": "gray", "FF0000": "red", "00FF00": "green", "0000FF": "blue",
    "00FFFF": "cyan", "FF00FF": "magenta", "FFFF00": "yellow",
}  # fmt: skip
"""What napari calls them: its list of colour tables shows these names."""
_DARK, _BRIGHT = 1 / 8, 1.5
"""As parts of what napari draws as full colour: below or above, a picture is all black or white."""

BANDS = "channel by channel, as its values are no colours"
PALETTE = "in the colours of its palette"


def colour_table(color: str) -> str | Colormap:
    """Return napari's colour table from black to a colour, by its name where it has one.

    Parameters
    ----------
    color : str
        "RRGGBB".
    """
    from napari.utils.colormaps import Colormap

    if color in _NAMED:
        return _NAMED[color]
    rgb = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return Colormap([[0, 0, 0, 1], [*rgb, 1]], name=f"#{color}")


def other_colours(layer: Image, axes: str, entry: ImageEntry) -> str:
    """Return how an image is to be shown instead if its layer's colours are not its own, or "".

    Whatever has a last axis of 3 or 4 is a picture to napari, without contrast limits: a raster of
    12 bits in 16 is black in it, and its fourth band its opacity. Of a palette it shows the places.

    Parameters
    ----------
    layer : Image
        The annotator's.
    axes : str
        What the dimensions of its pixels mean, if that is known.
    entry : ImageEntry
        The image that it shows.
    """
    if not layer.rgb:
        return PALETTE if axes and "c" not in axes and entry.n_channels > 1 else ""
    full = 1.0 if entry.dtype.kind == "f" else float(np.iinfo(entry.dtype).max)
    brightest = max(entry.intensity.high) / full
    wide = entry.dtype.itemsize > 1  # of 8 bits, our own layer would be as dark
    unseen = wide and not _DARK <= brightest <= _BRIGHT
    return BANDS if entry.n_channels > 3 or unseen else ""


def show_bands(layers: Sequence[Image]) -> None:
    """Give bands that napari took for red, green, blue and opacity these colours.

    Parameters
    ----------
    layers : sequence of Image
        A layer a band, not in the viewer yet; a fourth one stays out of sight at first.
    """
    for layer, name in zip(layers, ("red", "green", "blue"), strict=False):
        layer.colormap = name
    for layer in layers[3:]:
        layer.visible = False


def show_as(layer: Image, shown: Shown) -> None:
    """Give a layer the colours and the contrast that are known of its channel.

    Parameters
    ----------
    layer : Image
        One channel, not in the viewer yet.
    shown : Shown
        What is not said in it, and colour tables that this napari has not, leave the layer alone.
    """
    layer.visible = not shown.hidden
    if shown.lut in AVAILABLE_COLORMAPS:
        layer.colormap = shown.lut
    elif shown.color is not None:
        layer.colormap = colour_table(shown.color)
    if shown.window is not None:
        low, high = layer.contrast_limits_range
        layer.contrast_limits_range = min(low, shown.window[0]), max(high, shown.window[1])
        layer.contrast_limits = shown.window


def shown_as(layer: Image) -> Shown:
    """Return how a layer shows its channel.

    Parameters
    ----------
    layer : Image
        Of a colour table that leads elsewhere than from black to a colour, the name is kept, too.
    """
    black, middle, top = layer.colormap.map(np.array([0.0, 0.5, 1.0]))[:, :3]
    plain = np.allclose(black, 0, atol=0.02) and np.allclose(2 * middle, top, atol=0.05)
    name = str(layer.colormap.name)
    color = "".join(f"{round(255 * float(part)):02X}" for part in top)
    low, high = (float(limit) for limit in layer.contrast_limits)
    lut = "" if plain or name not in AVAILABLE_COLORMAPS else name
    return Shown(color, (low, high), lut, hidden=not layer.visible)


def keep_looks(entry: ImageEntry, layers: Sequence[Image]) -> None:
    """Remember how the annotator looks at an image, where each channel has a layer.

    Parameters
    ----------
    entry : ImageEntry
        Of an open project; one that cannot be written stays as it is.
    layers : sequence of Image
        What shows its channels, in their order.
    """
    if len(layers) != entry.n_channels or any(layer.rgb for layer in layers):
        return
    with suppress(CASError):  # colours are not worth a message; a full disk will be told soon
        keep_shown(entry, [shown_as(layer) for layer in layers])
