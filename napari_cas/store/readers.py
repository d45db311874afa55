"""Images from files, lazily where they may be large.

PNG, JPEG and whatever else imageio reads; TIFF (OME, ImageJ, tiled, pyramidal) through tifffile;
NumPy's ``.npy`` memory-mapped and never unpickled; OME-Zarr 0.4 and 0.5 and plain Zarr arrays,
local or by URL.
"""

from __future__ import annotations

import itertools
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_cas.errors import CASError, ImageError, ProjectFormatError
from napari_cas.store import metadata
from napari_cas.store.files import read_json
from napari_cas.store.levels import how_to_reach, open_levels, what_is_there
from napari_cas.store.loaded import LoadedImage, check_chunks, given_axes, plain, stem
from napari_cas.store.pictures import PICTURE_SUFFIXES, read_picture
from napari_cas.store.rasters import TIFF_SUFFIXES
from napari_cas.store.regular import store_at
from napari_cas.store.tiffs import read_tiff

SUFFIXES = frozenset({".npy", ".zarr", *TIFF_SUFFIXES, *PICTURE_SUFFIXES})
"""What images in a folder are called, lower case."""


def read_image(path: str | Path, axes: str | None = None) -> LoadedImage:
    """Open an image file.

    Parameters
    ----------
    path : str or Path
        File, Zarr directory or URL.
    axes : str, optional
        Letters of t, c, z, y, x: what the dimensions are of a file that does not say it (NumPy's,
        plain Zarr, a TIFF of nameless planes). By default a guess.

    Raises
    ------
    ImageError
        If there is nothing, it cannot be read, or it holds several images.
    """
    return _read(path, axes, ids=False)


def read_map(path: str | Path, axes: str | None = None) -> LoadedImage:
    """Open a file as a map of regions: its pixels are ids.

    Parameters
    ----------
    path : str or Path
        File, Zarr directory or URL.
    axes : str, optional
        As in :func:`read_image`; that of the channels may be among them.

    Returns
    -------
    LoadedImage
        As :func:`read_image` returns it, but never with NaN for what GDAL calls no data:
        ``no_data`` is that value in every type of whole numbers. Of a palette the indices are
        read, not the colours.

    Raises
    ------
    ImageError
        If there is nothing, or it cannot be read.
    RegionError
        If it is a JPEG, whose pixels are not exact.
    """
    return _read(path, axes, ids=True)


def images_in(path: str) -> list[str]:
    """Return the images of a collection in a local folder, in order; else the path itself.

    Programs that convert microscopes' files write a collection (``bioformats2raw.layout``) even of
    one image.
    """
    if "://" in path or not any(map(_is_collection, (path + "/zarr.json", path + "/.zattrs"))):
        return [path]
    numbered = (str(Path(path, str(number))) for number in itertools.count())
    return list(itertools.takewhile(lambda image: Path(image).is_dir(), numbered)) or [path]


def _is_collection(metadata_file: str) -> bool:
    try:
        found = read_json(Path(metadata_file))
    except ProjectFormatError:
        return False
    attributes = found.get("attributes", found)
    ome = attributes.get("ome", attributes) if isinstance(attributes, dict) else None
    return isinstance(ome, dict) and "bioformats2raw.layout" in ome


def _read(path: str | Path, axes: str | None, *, ids: bool) -> LoadedImage:
    text = str(path)
    try:
        return _open(text, axes, ids=ids)
    except CASError:
        raise
    except Exception as error:
        # Each format's library raises its own errors for damaged and foreign files.
        raise ImageError(
            f"{text} cannot be read",
            expected="an image",
            got=_in_words(error, Path(text)),
            todo="Convert it to TIFF, PNG or OME-Zarr if another program can open it.",
        ) from error


def _open(text: str, axes: str | None, *, ids: bool) -> LoadedImage:
    if "://" not in text and not Path(text).exists():
        raise ImageError("No such image", expected="a file", got=text)
    if "://" in text or Path(text).is_dir():
        return _read_zarr(text, axes, ids=ids)
    suffix = Path(text).suffix.lower()
    if suffix == ".npy":
        return _read_npy(Path(text), axes, ids=ids)
    if suffix in TIFF_SUFFIXES:
        return read_tiff(Path(text), axes, ids=ids)
    return read_picture(Path(text), ids=ids)


_MOST_CHANNELS = 32
"""A longer axis is not taken for channels where nothing says so."""

_WORDS = {
    "not a TIFF file": "something that is no TIFF",
    "find a backend": "something that is no picture, or a damaged one",
    "pickle": "Python objects, which are never loaded, or no NumPy array",
    "Python objects": "Python objects, which are never loaded",
}
"""What libraries say of files, in words that stand for themselves."""


def _in_words(error: Exception, path: Path) -> str:
    """Return what was found in a file instead of an image."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if path.is_file() and not path.stat().st_size:
        return "an empty file"
    if isinstance(error, (struct.error, SyntaxError, EOFError)):  # the last two are Pillow's
        return "a damaged file, or one of another kind"
    said = str(error)
    known = [words for theirs, words in _WORDS.items() if theirs in said]
    return known[0] if known else f"{type(error).__name__}: {error}"


def guess_axes(shape: tuple[int, ...], *, channels: bool = True) -> str:
    """Return likely axes for an array that does not say: channels last, else planes first.

    Parameters
    ----------
    shape : tuple of int
        Of the array. A last axis of 2 to 4, or of up to 32 where both sides of the plane are at
        least four times as long, is taken for channels.
    channels : bool, optional
        Whether there may be any: a map of regions has none.

    Raises
    ------
    ImageError
        There are fewer than two axes, or more than five.

    Examples
    --------
    >>> guess_axes((512, 512, 3)), guess_axes((20, 512, 512)), guess_axes((200, 160, 12))
    ('yxc', 'zyx', 'yxc')
    """
    colours = channels and len(shape) > 2 and _are_channels(shape)
    axes = {0: "yx", 1: "zyx", 2: "czyx", 3: "tczyx"}.get(len(shape) - 2 - colours)
    if axes is None or (colours and "c" in axes):
        raise ImageError("Unknown axes", expected="2 to 5 dimensions", got=f"shape {shape}")
    return axes + "c" if colours else axes


def _are_channels(shape: tuple[int, ...]) -> bool:
    """Return whether the last of three or more axes is likely that of channels.

    A plane of a stack is seldom a narrow strip; of a multispectral image, bands are few.
    """
    last, side = shape[-1], min(shape[-3:-1])
    # With five axes channels are among the first: so microscopes write them.
    bands = 2 <= last <= _MOST_CHANNELS and side >= 4 * last and len(shape) < 5
    return bands or (last in (2, 3, 4) and side > 4)


# NumPy ----------------------------------------------------------------------------------------


def _read_npy(path: Path, axes: str | None, *, ids: bool) -> LoadedImage:
    data = np.load(path, mmap_mode="r", allow_pickle=False)
    return plain(data, _given_or_guessed(axes, data.shape, path, ids=ids), path)


def _given_or_guessed(
    axes: str | None, shape: tuple[int, ...], path: str | Path, *, ids: bool
) -> str:
    if axes:
        return given_axes(axes, shape, path, ids=ids)
    return guess_axes(shape, channels=not ids)


# Zarr -----------------------------------------------------------------------------------------


def _read_zarr(source: str, given: str | None, *, ids: bool) -> LoadedImage:
    try:
        node = zarr.open(store_at(source), mode="r")
    except Exception as error:
        # Stores raise their own errors for what is missing, foreign or out of reach.
        raise ImageError(
            f"{source} cannot be opened",
            expected="an OME-Zarr image or a Zarr array",
            got=what_is_there(error, source),
            todo=how_to_reach(error) or _how_else(source),
        ) from error
    if isinstance(node, zarr.Array):
        check_chunks(node, source)
        axes = _named_axes(node) or _given_or_guessed(given, node.shape, source, ids=ids)
        return plain(node, axes, Path(source))
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
        name=_name(meta.name, source),
        source=source if "://" in source else str(Path(source).resolve()),
        translation=tuple(at for *_, at in stored),
    )


def _how_else(url: str) -> str:
    """Return what to do about a URL of a file of another kind."""
    other = Path(url).suffix.lower() in SUFFIXES - {".zarr"}
    return "Download it: only Zarr is read by URL." if "://" in url and other else ""


def _name(given: str, source: str) -> str:
    """Return an image's own name, or one by its place where that is a number or a place itself."""
    name = given.rstrip("/").rsplit("/", 1)[-1] if given.startswith("/") else given
    if name and not name.isdigit():
        return name
    place = Path(source)
    inside = place.name.isdigit() and place.parent.suffix == ".zarr"
    return f"{stem(place.parent)}-{place.name}" if inside else stem(place)


def _named_axes(array: zarr.Array[Any]) -> str | None:
    names = getattr(array.metadata, "dimension_names", None)
    if not names or not all(isinstance(name, str) and len(name) == 1 for name in names):
        return None
    try:
        metadata.canonical_axes("".join(names))
    except ImageError:
        return None
    return "".join(names).lower()
