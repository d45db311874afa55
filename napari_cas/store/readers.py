"""Images from files, lazily where they may be large.

PNG, JPEG and whatever else imageio reads; TIFF (OME, ImageJ, tiled, pyramidal) through tifffile;
NumPy's ``.npy`` memory-mapped and never unpickled; OME-Zarr 0.4 and 0.5 and plain Zarr arrays,
local or by URL.
"""

from __future__ import annotations

import contextlib
import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_cas.errors import CASError, ImageError
from napari_cas.store import metadata
from napari_cas.store.levels import how_to_reach, open_levels, readable
from napari_cas.store.rasters import TIFF_SUFFIXES, known_pixels
from napari_cas.store.regular import store_at

if TYPE_CHECKING:
    from napari_cas.store.arraylike import ArrayLike

LAZY_BYTES = 256 << 20
"""TIFF files with more pixels than this stay on disk."""

_MOST_COMPRESSED = 10_000
"""Bytes of pixels per byte of file; deflate reaches 1,032 at most."""

_PROGRAMS = (b"%!PS", b"\xc5\xd0\xd3\xc6")
"""First bytes of PostScript, which Pillow has Ghostscript run whatever the file is called."""


@dataclass(frozen=True)
class LoadedImage:
    """An image that was opened, ready for :meth:`Project.add_image`.

    Attributes
    ----------
    data : array-like
        NumPy, Zarr or Dask array.
    axes : str
        One letter of t, c, z, y, x per dimension.
    scale : tuple of float
        Pixel size per dimension.
    units : tuple of str or None
        Unit per dimension.
    channel_names : tuple of str or None
        Names, if the file has them.
    name : str
        A name for it.
    source : str or None
        Path or URL, if it is OME-Zarr and can be referred to instead of copied.
    no_data : int or None
        Of integers: pixels that are this in all channels hold no data.
    translation : tuple of float or None
        Place of the first pixel per dimension, if the file says.
    """

    data: ArrayLike
    axes: str
    scale: tuple[float, ...]
    units: tuple[str | None, ...]
    channel_names: tuple[str, ...] | None
    name: str
    source: str | None = None
    no_data: int | None = None
    translation: tuple[float, ...] | None = None


def read_image(path: str | Path) -> LoadedImage:
    """Open an image file.

    Parameters
    ----------
    path : str or Path
        File, Zarr directory or URL.

    Raises
    ------
    ImageError
        If there is nothing, it cannot be read, or it holds several images.
    """
    text = str(path)
    suffix = Path(text.rstrip("/").split("?")[0]).suffix.lower()
    if "://" not in text and not Path(text).exists():
        raise ImageError("No such image", expected="a file", got=text)
    try:
        if "://" in text or Path(text).is_dir():
            return _read_zarr(text)
        if suffix == ".npy":
            return _read_npy(Path(text))
        if suffix in TIFF_SUFFIXES:
            return _read_tiff(Path(text))
        return _read_picture(Path(text))
    except CASError:
        raise
    except Exception as error:
        # Each format's library raises its own errors for damaged and foreign files.
        raise ImageError(
            f"{text} cannot be read",
            expected="an image",
            got=f"{type(error).__name__}: {error}",
            todo="Convert it to TIFF, PNG or OME-Zarr if another program can open it.",
        ) from error


def _plain(data: ArrayLike, axes: str, path: Path, **more: Any) -> LoadedImage:  # noqa: ANN401
    count = len(axes)
    options: dict[str, Any] = {
        "scale": (1.0,) * count,
        "units": (None,) * count,
        "channel_names": None,
        **more,
    }
    return LoadedImage(data, axes, name=_stem(path.name), **options)


def _stem(name: str) -> str:
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem or name


def guess_axes(shape: tuple[int, ...]) -> str:
    """Return likely axes for an array that does not say: colours last, else planes first.

    Examples
    --------
    >>> guess_axes((512, 512, 3)), guess_axes((20, 512, 512))
    ('yxc', 'zyx')
    """
    colours = len(shape) > 2 and shape[-1] in (2, 3, 4) and min(shape[-3:-1]) > 4
    axes = {0: "yx", 1: "zyx", 2: "czyx", 3: "tczyx"}.get(len(shape) - 2 - colours)
    if axes is None or (colours and "c" in axes):
        raise ImageError("Unknown axes", expected="2 to 5 dimensions", got=f"shape {shape}")
    return axes + "c" if colours else axes


# Pictures and NumPy ---------------------------------------------------------------------------


def _read_picture(path: Path) -> LoadedImage:
    import imageio.v3 as imageio

    pixels = path.read_bytes()
    if pixels.startswith(_PROGRAMS):
        raise ImageError(
            f"{path} is a program in PostScript, not a picture",
            todo="Convert it to PNG or TIFF with a tool that you trust to run it.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large pictures and odd metadata are fine
        # Given a path, imageio leaves the file open when no reader wants it.
        kind: Any = {"extension": path.suffix} if path.suffix else {}
        data = np.asarray(imageio.imread(pixels, **kind))
    if data.ndim not in (2, 3, 4):
        raise ImageError(f"{path} is no picture", expected="2 to 4 axes", got=f"{data.shape}")
    if data.ndim == 4:
        return _plain(_opaque(data), "tyxc", path)
    if data.ndim == 3 and data.shape[-1] not in (2, 3, 4):
        return _plain(data, "tyx", path)
    data = _opaque(data) if data.ndim == 3 else data
    return _plain(data, "yxc" if data.ndim == 3 else "yx", path)


def _opaque(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Drop the opacity, which says nothing about appearance; grey with opacity becomes grey."""
    if data.shape[-1] == 2:
        return np.ascontiguousarray(data[..., 0])
    return data[..., :3]


def _read_npy(path: Path) -> LoadedImage:
    data = np.load(path, mmap_mode="r", allow_pickle=False)
    return _plain(data, guess_axes(data.shape), path)


# TIFF -----------------------------------------------------------------------------------------


def _read_tiff(path: Path) -> LoadedImage:
    import tifffile

    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tifffile.TiffFile(path))
        series = file.series[0]
        _check_claim(series.nbytes, path)
        lazy = series.nbytes > LAZY_BYTES
        pixels: Any = zarr.open(series.aszarr(level=0), mode="r") if lazy else series.asarray()
        if lazy:
            _check_chunks(pixels, str(path))
        known, no_data = known_pixels(pixels, file)
        data, axes = _tiff_axes(known, series.axes)
        scale, units, names = _tiff_metadata(file)
        if lazy:
            # Stays open as long as the array is in use.
            weakref.finalize(pixels.store, file.close)
            stack.pop_all()
    return _plain(
        data,
        axes,
        path,
        scale=tuple(scale.get(axis, 1.0) for axis in axes),
        units=tuple(units.get(axis) for axis in axes),
        channel_names=names or None,
        no_data=no_data,
    )


def _check_claim(claimed: int, path: Path) -> None:
    """Refuse a header that claims far more pixels than any compression gets into the file."""
    size = path.stat().st_size
    if claimed > max(_MOST_COMPRESSED * size, LAZY_BYTES):
        raise ImageError(
            f"{path} is damaged", expected=f"{claimed} bytes of pixels", got=f"{size} bytes"
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
        if not isinstance(data, np.ndarray):
            import dask.array as da

            data = data if isinstance(data, da.Array) else da.from_zarr(data)
        data = data.squeeze(axis=tuple(drop))
        letters = [letter for i, letter in enumerate(letters) if i not in drop]
    # Image files numbered without saying along what are taken as planes.
    free = [letter for letter in "zt" if letter.upper() not in letters]
    named = []
    for letter in letters:
        if letter in "TCZYX":
            named.append(letter.lower())
        elif letter == "S":
            named.append("c")
        elif letter in "IQ" and free:
            named.append(free.pop(0))
        else:
            raise ImageError("Unusable axes", expected="T, C, Z, Y, X or S", got=axes)
    canonical = "".join(named)
    metadata.canonical_axes(canonical)
    if canonical.endswith("c") and data.shape[-1] in (2, 4) and "S" in axes:
        data = data[..., : data.shape[-1] - 1]
    return data, canonical


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


# Zarr -----------------------------------------------------------------------------------------


def _read_zarr(source: str) -> LoadedImage:
    try:
        node = zarr.open(store_at(source), mode="r")
    except Exception as error:
        # Stores raise their own errors for what is missing, foreign or out of reach.
        raise ImageError(
            f"{source} cannot be opened",
            expected="an OME-Zarr image or a Zarr array",
            got=f"{type(error).__name__}: {error}",
            todo=how_to_reach(error),
        ) from error
    name = _stem(source.rstrip("/").split("/")[-1])
    if isinstance(node, zarr.Array):
        _check_chunks(node, source)
        axes = _named_axes(node) or guess_axes(node.shape)
        return _plain(node, axes, Path(name))
    attributes = dict(node.attrs)
    ome = attributes.get("ome", attributes)
    if not (isinstance(ome, dict) and "multiscales" in ome):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr warns of every file that is not its own
            inside = ", ".join(sorted(node.group_keys())[:20])
        raise ImageError(
            f"{source} is no single image",
            expected="an OME-Zarr image",
            got=f"a group with {inside}" if inside else "an empty group",
            todo="Open one of the images inside it." if inside else "",
        )
    levels, meta = open_levels(source)
    places = zip(meta.order, meta.axes, meta.scale, meta.units, meta.translation, strict=True)
    stored = sorted(places)
    return LoadedImage(
        data=levels[0],
        axes="".join(axis for _, axis, *_ in stored),
        scale=tuple(scale for _, _, scale, *_ in stored),
        units=tuple(unit for _, _, _, unit, _ in stored),
        channel_names=meta.channel_names or None,
        name=meta.name or name,
        source=source if "://" in source else str(Path(source).resolve()),
        translation=tuple(at for *_, at in stored),
    )


def _check_chunks(array: zarr.Array[Any], source: str) -> None:
    if not readable(array, array.ndim):
        raise ImageError(
            f"{source} cannot be read",
            expected="an array of numbers with chunks below 1 GiB",
            got=repr(array)[:200],
        )


def _named_axes(array: zarr.Array[Any]) -> str | None:
    names = getattr(array.metadata, "dimension_names", None)
    if not names or not all(isinstance(name, str) and len(name) == 1 for name in names):
        return None
    try:
        metadata.canonical_axes("".join(names))
    except ImageError:
        return None
    return "".join(names).lower()
