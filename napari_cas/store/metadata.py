"""OME-Zarr metadata: written as 0.5, read as 0.4 or 0.5.

Specification: https://ngff.openmicroscopy.org/0.5/ (sections ``multiscales``, ``omero``, ``labels``
and ``image-label``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from napari_cas.errors import ImageError, ProjectFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

AXES = "tczyx"
"""Canonical order of axes: time, channel, depth, height, width."""

OME_VERSION = "0.5"

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_UNITS = {
    "um": "micrometer", "µm": "micrometer", "μm": "micrometer", "micron": "micrometer",
    "nm": "nanometer", "mm": "millimeter", "cm": "centimeter", "m": "meter", "Å": "angstrom",
    "s": "second", "sec": "second", "ms": "millisecond", "min": "minute", "h": "hour",
    "pixel": None, "px": None, "": None,
}  # fmt: skip
_COLORS = ("00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF", "FFFFFF")
RGB = ("FF0000", "00FF00", "0000FF")
"""Colours of the channels of a picture in true colours."""
_MAX_LEVELS = 64


@dataclass(frozen=True)
class ImageMetadata:
    """What OME-Zarr says about an image.

    Attributes
    ----------
    axes : str
        Axes in canonical order, a subset of "tczyx" with "yx".
    order : tuple of int
        Position of each of these axes in the stored arrays.
    paths : tuple of str
        Paths of the resolution levels, full resolution first.
    scale : tuple of float
        Size of a pixel per axis of `axes`, in `units`.
    units : tuple of str or None
        Unit per axis of `axes`.
    channel_names : tuple of str
        Names of the channels; empty if not given.
    name : str
        Name of the image; may be empty.
    translation : tuple of float
        Place of the first pixel's centre per axis of `axes`, in `units`.
    omero : object
        How channels are shown, as it stands there; see :mod:`napari_cas.store.shown`.
    """

    axes: str
    order: tuple[int, ...]
    paths: tuple[str, ...]
    scale: tuple[float, ...]
    units: tuple[str | None, ...]
    channel_names: tuple[str, ...] = ()
    name: str = ""
    translation: tuple[float, ...] = ()
    omero: object = None


def canonical_axes(axes: str) -> tuple[str, tuple[int, ...]]:
    """Return `axes` in canonical order and the position of each in `axes`.

    Raises
    ------
    ImageError
        If a letter is unknown or repeated, or y or x is missing.

    Examples
    --------
    >>> canonical_axes("yxc")
    ('cyx', (2, 0, 1))
    """
    letters = axes.lower()
    if len(set(letters)) != len(letters) or not set(letters) <= set(AXES):
        raise ImageError("Unusable axes", expected="different letters of t, c, z, y, x", got=axes)
    if not set("yx") <= set(letters):
        raise ImageError("Unusable axes", expected="y and x among them", got=axes)
    ordered = "".join(letter for letter in AXES if letter in letters)
    return ordered, tuple(letters.index(letter) for letter in ordered)


def unit_name(unit: str | None) -> str | None:
    """Return a unit as OME-Zarr spells it; None for pixels."""
    if unit is None:
        return None
    return _UNITS.get(unit, str(unit))


def default_channel_names(count: int) -> list[str]:
    """Return names for channels that have none."""
    return ["intensity"] if count == 1 else [f"channel {i}" for i in range(count)]


def multiscales(
    name: str,
    axes: str,
    paths: Sequence[str],
    scale: Sequence[float],
    units: Sequence[str | None],
    *,
    method: str | None = "mean",
    translation: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return one entry of ``multiscales``: level k is 2^k times coarser along y and x.

    The translation of a coarser level is that of its pixels' centres, (2^k − 1)/2 fine pixels, and
    that of the image itself, if it has one, such as the stage's position.
    """
    origin = [0.0] * len(axes) if translation is None else list(translation)
    entries: list[dict[str, Any]] = []
    for axis, unit in zip(axes, units, strict=True):
        entry: dict[str, Any] = {"name": axis, "type": _TYPES[axis]}
        if unit is not None and axis != "c":
            entry["unit"] = unit
        entries.append(entry)
    datasets = []
    for level, path in enumerate(paths):
        factors = [2.0**level if axis in "yx" else 1.0 for axis in axes]
        transforms: list[dict[str, Any]] = [
            {"type": "scale", "scale": [s * f for s, f in zip(scale, factors, strict=True)]}
        ]
        if level or any(origin):
            shift = [o + s * (f - 1) / 2 for o, s, f in zip(origin, scale, factors, strict=True)]
            transforms.append({"type": "translation", "translation": shift})
        datasets.append({"path": path, "coordinateTransformations": transforms})
    entry = {"name": name, "axes": entries, "datasets": datasets}
    if method is not None:
        entry["type"] = method
    return entry


def omero(
    names: Sequence[str], low: Sequence[float], high: Sequence[float], limits: tuple[float, float]
) -> dict[str, Any]:
    """Return the ``omero`` block: names, colours and contrast of channels."""
    count = len(names)
    colors: tuple[str, ...] = ("FFFFFF",) if count == 1 else _COLORS
    if named_rgb(names):
        colors = RGB
    channels = [
        {
            "label": names[i],
            "color": colors[i % len(colors)],
            "active": True,
            "window": {"start": low[i], "end": high[i], "min": limits[0], "max": limits[1]},
        }
        for i in range(count)
    ]
    return {"channels": channels, "rdefs": {"model": "color"}}


def named_rgb(names: Sequence[str]) -> bool:
    """Return whether channels are called red, green and blue, in this order."""
    return [name.lower() for name in names] in (["red", "green", "blue"], ["r", "g", "b"])


def channel_color(index: int) -> str:
    """Return the colour "RRGGBB" of a channel of several, where nobody chose one."""
    return _COLORS[index % len(_COLORS)]


def parse(attributes: dict[str, Any], where: str) -> ImageMetadata:
    """Read the first multiscale image out of a group's attributes (OME-Zarr 0.4 or 0.5).

    Raises
    ------
    ProjectFormatError
        If there is none or it is damaged.
    ImageError
        If its axes cannot be used.
    """
    try:
        return _parse(attributes)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, ImageError):
            raise
        raise ProjectFormatError(
            f"{where} is not a usable OME-Zarr image",
            expected="multiscales metadata of OME-Zarr 0.4 or 0.5",
            got=f"{type(error).__name__}: {error}",
        ) from error


def _parse(attributes: dict[str, Any]) -> ImageMetadata:
    ome = attributes.get("ome", attributes)
    first = ome["multiscales"][0]
    names, units = [], []
    for axis in first["axes"]:
        name, unit = (axis, None) if isinstance(axis, str) else (axis["name"], axis.get("unit"))
        names.append(_letter(str(name), "" if isinstance(axis, str) else axis.get("type", "")))
        units.append(unit if isinstance(unit, str) else None)
    axes, order = canonical_axes("".join(names))
    paths = tuple(_relative(dataset["path"]) for dataset in first["datasets"])
    if not 0 < len(paths) <= _MAX_LEVELS:
        raise ValueError(f"{len(paths)} resolution levels")
    scale, translation = _placement(first, len(names))
    return ImageMetadata(
        axes=axes,
        order=order,
        paths=paths,
        scale=tuple(scale[i] for i in order),
        units=tuple(units[i] for i in order),
        channel_names=_channel_names(ome),
        name=str(first.get("name") or ""),
        translation=tuple(translation[i] for i in order),
        omero=ome.get("omero"),
    )


def _letter(name: str, kind: str) -> str:
    """Return the letter of an axis, which others may call "Y" or "time"."""
    if name.lower() in AXES and len(name) == 1:
        return name.lower()
    letter = {"time": "t", "channel": "c"}.get(kind, "")
    if not letter:
        raise ImageError("Unusable axes", expected="axes named t, c, z, y, x", got=name)
    return letter


def _relative(path: object) -> str:
    if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"dataset path {path!r} leads outside the image")
    return path


def _placement(multiscale: dict[str, Any], ndim: int) -> tuple[list[float], list[float]]:
    """Return pixel size and translation at full resolution: the data set's, then the image's."""
    scale, translation = [1.0] * ndim, [0.0] * ndim
    first = multiscale["datasets"][0].get("coordinateTransformations") or []
    for transform in [*first, *(multiscale.get("coordinateTransformations") or [])]:
        kind = transform.get("type")
        if kind not in ("scale", "translation") or kind not in transform:
            continue
        values = [float(v) for v in transform[kind]]
        usable = all(v > 0 if kind == "scale" else abs(v) < inf for v in values)
        if len(values) != ndim or not usable or inf in values:
            raise ValueError(f"{kind} {values} for {ndim} axes")
        if kind == "scale":
            scale = [a * b for a, b in zip(scale, values, strict=True)]
            translation = [a * b for a, b in zip(translation, values, strict=True)]
        else:
            translation = [a + b for a, b in zip(translation, values, strict=True)]
    return scale, translation


def _channel_names(ome: dict[str, Any]) -> tuple[str, ...]:
    block = ome.get("omero")
    channels = block.get("channels") if isinstance(block, dict) else None
    if not isinstance(channels, list):
        return ()
    return tuple(
        str(channel.get("label", f"channel {i}")) if isinstance(channel, dict) else f"channel {i}"
        for i, channel in enumerate(channels)
    )
