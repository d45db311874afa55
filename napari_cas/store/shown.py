"""How the channels of an image are shown: colours and contrast, as in OME-Zarr's ``omero`` block.

They say nothing about the pixels, and nothing is computed from them: the scale of the network is
that of the image (:class:`napari_cas.store.sampling.Intensity`), however it is looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.store import metadata
from napari_cas.store.files import read_group, write_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.store.image import ImageEntry

_COLOR = re.compile(r"#?([0-9A-Fa-f]{6})")
_LUT = re.compile(r"[\w .:+-]{1,64}")


@dataclass(frozen=True)
class Shown:
    """How one channel is shown.

    Attributes
    ----------
    color : str or None
        "RRGGBB" of what is brightest, between which and black the rest lies.
    window : tuple of float or None
        What is darkest and brightest, in the image's unit; the second is larger.
    lut : str
        Name of a colour table that goes other ways than from black to `color`; else empty.
    hidden : bool
        Whether it is out of sight at first, as a band beyond red, green and blue may be.
    """

    color: str | None = None
    window: tuple[float, float] | None = None
    lut: str = ""
    hidden: bool = False


def shown_channels(omero: object, count: int) -> tuple[Shown, ...]:
    """Return what an ``omero`` block says of each channel; what is of no use counts as not said.

    Parameters
    ----------
    omero : object
        Anything: other programs write it, and few agree on it. One colour for all channels is what
        is written where nobody chose any, and so is a window of all values.
    count : int
        Channels that there are.
    """
    channels = omero.get("channels") if isinstance(omero, dict) else None
    found = [_read(channel) for channel in channels] if isinstance(channels, list) else []
    found = (found + [Shown()] * count)[:count]
    if count > 1 and len({shown.color for shown in found}) == 1:
        found = [replace(shown, color=None) for shown in found]
    return _seen(found)


def _seen(channels: Sequence[Shown]) -> tuple[Shown, ...]:
    """Return the channels, none of them hidden if all are: an image is there to be seen."""
    if all(shown.hidden for shown in channels):
        return tuple(replace(shown, hidden=False) for shown in channels)
    return tuple(channels)


def _read(channel: object) -> Shown:
    if not isinstance(channel, dict):
        return Shown()
    color = _COLOR.fullmatch(str(channel.get("color")))
    lut = channel.get("lut")
    known = lut if isinstance(lut, str) and _LUT.fullmatch(lut) else ""
    window, hidden = _window(channel.get("window")), channel.get("active") is False
    return Shown(color[1].upper() if color else None, window, known, hidden)


def _window(window: object) -> tuple[float, float] | None:
    try:
        start, end, least, most = (
            float(window[key])  # type: ignore[index]
            for key in ("start", "end", "min", "max")
        )
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
    usable = isfinite(start) and isfinite(end) and start < end
    return (start, end) if usable and (start, end) != (least, most) else None


def into_omero(block: dict[str, Any], shown: Sequence[Shown]) -> dict[str, Any]:
    """Return an ``omero`` block of as many channels that says this of them.

    Parameters
    ----------
    block : dict
        As :func:`napari_cas.store.metadata.omero` makes it; not changed.
    shown : sequence of Shown
        What is not said here stays as it is.
    """
    return block | {
        "channels": [
            _write(channel, how) for channel, how in zip(block["channels"], shown, strict=True)
        ]
    }


def _write(channel: dict[str, Any], shown: Shown) -> dict[str, Any]:
    found = {key: value for key, value in channel.items() if key != "lut"}
    found["active"] = not shown.hidden
    if shown.color is not None:
        found["color"] = shown.color
    if shown.window is not None:
        found["window"] = _range(channel["window"], *shown.window)
    if shown.lut:
        found["lut"] = shown.lut
    return found


def _range(window: dict[str, float], start: float, end: float) -> dict[str, float]:
    """Return a window within the ends of what there is, which it may be but for one."""
    least, most = min(start, window["min"]), max(end, window["max"])
    if (start, end) == (least, most):  # or it would read as one that nobody chose
        most += end - start
    return {"start": start, "end": end, "min": least, "max": most}


def default_omero(entry: ImageEntry) -> dict[str, Any]:
    """Return the ``omero`` block of an image that nobody looked at yet."""
    low, high = entry.intensity.low, entry.intensity.high
    short = entry.dtype.kind in "iu" and entry.dtype.itemsize <= 2
    whole = np.iinfo(entry.dtype) if short else None
    limits = (min(low), max(high)) if whole is None else (float(whole.min), float(whole.max))
    return metadata.omero(entry.channel_names, low, high, limits)


def in_true_colour(entry: ImageEntry) -> bool:
    """Return whether an image is a picture in red, green and blue, to be shown as one.

    Parameters
    ----------
    entry : ImageEntry
        Three channels of 8 bits are one unless they have other names, or somebody gave them
        other colours: three stains of a microscope are of that type, too.
    """
    if entry.n_channels != 3 or str(entry.dtype) != "uint8":
        return False
    names = list(entry.channel_names or metadata.default_channel_names(3))
    if not metadata.named_rgb(names) and names != metadata.default_channel_names(3):
        return False
    colors = tuple(shown.color for shown in entry.shown)
    nobody_s = tuple(metadata.channel_color(index) for index in range(3))
    return colors in (metadata.RGB, nobody_s, (None, None, None))


def keep_shown(entry: ImageEntry, shown: Sequence[Shown]) -> None:
    """Remember how an image is shown, if its project can be written.

    Parameters
    ----------
    entry : ImageEntry
        Of an open project.
    shown : sequence of Shown
        One per channel.

    Raises
    ------
    StorageError, ProjectFormatError
        If it cannot be written.
    """
    shown = _seen(shown)
    if entry.mode != "r+" or shown == entry.shown:
        return
    attributes = read_group(entry.folder)
    place = attributes["napari-cas"] if entry.refers else attributes["ome"]
    place["omero"] = into_omero(default_omero(entry), shown)
    write_group(entry.folder, attributes)
    entry.shown = shown
