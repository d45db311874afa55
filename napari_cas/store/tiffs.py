"""TIFF (OME, ImageJ, tiled, pyramidal) through tifffile, lazily where it may be large."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import zarr

from napari_cas.errors import ImageError
from napari_cas.store import metadata
from napari_cas.store.loaded import LoadedImage, check_chunks, given_axes, plain
from napari_cas.store.opacity import lazily, without_opacity
from napari_cas.store.overviews import is_overview
from napari_cas.store.palettes import in_colours, palette
from napari_cas.store.pictures import jpeg_error
from napari_cas.store.rasters import known_pixels, marker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from tifffile import TiffFile

_Answer = TypeVar("_Answer")

LAZY_BYTES = 256 << 20
"""TIFF files with more pixels than this stay on disk."""

_MOST_COMPRESSED = 10_000
"""Bytes of pixels per byte of file; deflate reaches 1,032 at most."""

_OPACITY = (1, 2)
"""Of the ExtraSamples tag: opacity that the colours are multiplied by already, or not yet."""

_LOSSY = (6, 7)
"""Of the Compression tag: JPEG, old and new."""

_GENERAL = ("ome", "shaped", "generic", "uniform")
"""Kinds of files that hold whatever was put in; scanners' put labels and overviews beside one."""

_NAMELESS = frozenset("IQ")
"""Axes of planes that are numbered without saying along what."""

_NAMING = ("ome", "imagej", "shaped", "lsm", "micromanager", "stk")
"""Kinds of files that say what their axes are."""

_SIDESHOW = 10
"""What has so many times fewer pixels than the first image is a label, a thumbnail or the like."""


def read_tiff(path: Path, axes: str | None = None, *, ids: bool = False) -> LoadedImage:
    """Open a TIFF's image at full resolution.

    Parameters
    ----------
    path : Path
        The file, which stays open where the pixels stay on disk.
    axes : str, optional
        What the dimensions are where the file only numbers its planes.
    ids : bool, optional
        Whether the pixels are ids rather than measured: no data are not made NaN, which would
        make floats of them, and of a palette the indices are read.

    Returns
    -------
    LoadedImage
        Axes, pixel size and channel names are what the file says. Opacity is left
        out; where it is 0, there are no data.

    Raises
    ------
    ImageError
        Its header claims more than it holds, its axes cannot be used, or it holds several images:
        lower resolutions, masks, and the labels of slides are passed over. tifffile's own errors
        pass, too.
    RegionError
        Ids are compressed as JPEG.
    """
    import tifffile

    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tifffile.TiffFile(path))
        series = file.series[0]
        _check_claim(series.nbytes, path)
        _check_alone(file.series, path)
        if ids and int(series.keyframe.compression) in _LOSSY:
            raise jpeg_error(path)
        lazy = series.nbytes > LAZY_BYTES
        pixels: Any = zarr.open(series.aszarr(level=0), mode="r") if lazy else series.asarray()
        if lazy:
            check_chunks(pixels, str(path))
        known, no_data = (pixels, marker(pixels.dtype, file)) if ids else known_pixels(pixels, file)
        if axes and set(series.axes) & _NAMELESS:
            data, axes = known, given_axes(axes, known.shape, path, ids=ids)
        else:
            data, axes = _tiff_axes(known, series.axes)
        if not ids and "c" not in axes and (table := palette(file, series)) is not None:
            data, axes, no_data = in_colours(data, axes, table, no_data)
        if (alpha := _alpha(series)) is not None:
            data, no_data = without_opacity(data, axes, alpha, no_data)
        scale, units, names = _tiff_metadata(file)
        if lazy:
            # Stays open as long as the array is in use.
            weakref.finalize(pixels.store, file.close)
            stack.pop_all()
    return plain(
        data,
        axes,
        path,
        scale=tuple(scale.get(axis, 1.0) for axis in axes),
        units=tuple(units.get(axis) for axis in axes),
        channel_names=names or None,
        no_data=no_data,
    )


def opacity_of(path: str | Path) -> tuple[int, int] | None:
    """Return which sample of a TIFF's pixels is their opacity, and how many samples there are.

    Parameters
    ----------
    path : str or Path
        The file, of which only the header is read.

    Returns
    -------
    tuple of int, or None
        None where the file names no opacity, or cannot be read.
    """

    def ask(file: TiffFile) -> tuple[int, int] | None:
        series = file.series[0]
        index = _alpha(series)
        return None if index is None else (index, int(series.keyframe.samplesperpixel))

    return _of_header(path, ask, None)


def palette_of(path: str | Path) -> NDArray[np.uint8] | None:
    """Return the table of colours in which a TIFF's pixels are places.

    Parameters
    ----------
    path : str or Path
        The file, of which only the header is read.

    Returns
    -------
    ndarray, or None
        As :func:`napari_cas.store.palettes.palette` returns it; None, too, where the file cannot be
        read.
    """
    return _of_header(path, lambda file: palette(file, file.series[0]), None)


def said_of_axes(path: str | Path, shape: tuple[int, ...]) -> tuple[str, tuple[str, ...]]:
    """Return which axes a TIFF says its pixels have, and its channels' names.

    Parameters
    ----------
    path : str or Path
        The file, of which only the header is read.
    shape : tuple of int
        Of the pixels as somebody else has read them.

    Returns
    -------
    axes : str
        Letters of t, c, z, y and x; empty where the file only numbers its planes, holds pixels of
        another shape, or cannot be read.
    names : tuple of str
        One for each channel, or none.
    """
    nothing: tuple[str, tuple[str, ...]] = "", ()

    def ask(file: TiffFile) -> tuple[str, tuple[str, ...]]:
        # Of the others no axis has a name, and each of their pages would have to be looked at.
        if not any(getattr(file, f"is_{kind}") for kind in _NAMING):
            return nothing
        series = file.series[0]
        axes = series.axes.lower().replace("s", "c")
        known = set(axes) <= set("tczyx") and len(set(axes)) == len(axes)
        if tuple(series.shape) != shape or not known:
            return nothing
        return axes, _tiff_metadata(file)[2]

    return _of_header(path, ask, nothing)


def _of_header(path: str | Path, ask: Callable[[TiffFile], _Answer], otherwise: _Answer) -> _Answer:
    """Return what an open TIFF answers, or something else where the file cannot be read."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return ask(file)
    except Exception:  # tifffile raises whatever the damage leads to; the pixels are here already
        return otherwise


def _check_claim(claimed: int, path: Path) -> None:
    """Refuse a header that claims far more pixels than any compression gets into the file."""
    size = path.stat().st_size
    if claimed > max(_MOST_COMPRESSED * size, LAZY_BYTES):
        raise ImageError(
            f"{path} is damaged", expected=f"{claimed} bytes of pixels", got=f"{size} bytes"
        )


def _check_alone(series: Any, path: Path) -> None:  # noqa: ANN401 - tifffile's
    """Refuse a file of several images, of which the first alone would be read without a word."""
    first = series[0]
    others = [
        other
        for other in series[1:]
        if other.kind in _GENERAL
        and not (other.keyframe.is_reduced or other.keyframe.is_mask)
        and _SIDESHOW * other.size > first.size
        and not is_overview(other, first)
    ]
    if others:
        shapes = ", ".join(str(one.shape) for one in (first, *others)[:5])
        raise ImageError(
            f"{path} holds {1 + len(others)} images",
            expected="one image, or images of one shape as a stack",
            got=f"shapes {shapes}",
            todo="Save each as a file of its own.",
        )


def _tiff_axes(data: Any, axes: str) -> tuple[Any, str]:  # noqa: ANN401 - NumPy, Zarr or Dask
    """Name TIFF's axes our way and drop those of length one that we have no name for."""
    letters = list(axes.upper())
    drop = [i for i, letter in enumerate(letters) if letter not in "TCZYXS" and data.shape[i] == 1]
    if "C" in letters and "S" in letters:
        spare = letters.index("C" if data.shape[letters.index("C")] == 1 else "S")
        if data.shape[spare] == 1:
            drop.append(spare)
    if drop:
        data = lazily(data).squeeze(axis=tuple(drop))
        letters = [letter for i, letter in enumerate(letters) if i not in drop]
    # Image files numbered without saying along what are taken as planes.
    free = [letter for letter in "zt" if letter.upper() not in letters]
    named = []
    for letter in letters:
        if letter in "TCZYX":
            named.append(letter.lower())
        elif letter == "S":
            named.append("c")
        elif letter in _NAMELESS and free:
            named.append(free.pop(0))
        else:
            raise ImageError("Unusable axes", expected="T, C, Z, Y, X or S", got=axes)
    canonical = "".join(named)
    metadata.canonical_axes(canonical)
    return data, canonical


def _alpha(series: Any) -> int | None:  # noqa: ANN401 - tifffile's
    """Return which sample of a pixel is its opacity, where the file says so.

    Of other samples beyond the colours it says that they are unspecified: near infrared, say.
    """
    page = series.keyframe
    extra = [int(kind) for kind in page.extrasamples]
    found = [i for i, kind in enumerate(extra) if kind in _OPACITY]
    samples = page.samplesperpixel
    in_axes = "S" in series.axes and series.shape[series.axes.index("S")] == samples
    return samples - len(extra) + found[0] if found and samples > 1 and in_axes else None


def _tiff_metadata(file: Any) -> tuple[dict[str, float], dict[str, str | None], tuple[str, ...]]:  # noqa: ANN401
    """Return pixel sizes, units and channel names of an OME or ImageJ TIFF, where given."""
    try:
        if file.is_ome and file.ome_metadata:
            return _ome_metadata(file.ome_metadata)
        if file.is_imagej:
            return _imagej_metadata(file)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        pass  # the pixels are what matters; damaged notes about them are left out
    return {}, {}, ()


def _ome_metadata(xml: str) -> tuple[dict[str, float], dict[str, str | None], tuple[str, ...]]:
    import tifffile

    image = tifffile.xml2dict(xml)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    scale, units = {}, {}
    for axis in "zyx":
        size = float(pixels.get(f"PhysicalSize{axis.upper()}", 0))
        if size > 0:
            scale[axis] = size
            units[axis] = metadata.unit_name(pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm"))
    channels = pixels.get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    names = tuple(str(channel["Name"]) for channel in channels if "Name" in channel)
    return scale, units, names if len(names) == int(pixels.get("SizeC", 0)) else ()


def _imagej_metadata(
    file: Any,  # noqa: ANN401 - tifffile is untyped here
) -> tuple[dict[str, float], dict[str, str | None], tuple[str, ...]]:
    notes = file.imagej_metadata or {}
    unit = metadata.unit_name(str(notes.get("unit", "")).replace("\\u00B5", "µ"))
    if unit is None:
        return {}, {}, ()
    scale: dict[str, float] = {}
    units: dict[str, str | None] = {}
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        above, below = file.pages[0].tags[tag].value
        scale[axis], units[axis] = below / above, unit
    if float(notes.get("spacing", 0)) > 0:
        scale["z"], units["z"] = float(notes["spacing"]), unit
    return scale, units, ()
