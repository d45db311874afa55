"""Images from files, lazily where they may be large.

PNG, JPEG and whatever else imageio reads; TIFF (OME, ImageJ, tiled, pyramidal) through tifffile;
NumPy's ``.npy`` memory-mapped and never unpickled; OME-Zarr 0.4 and 0.5 and plain Zarr arrays,
local or by URL.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_cas.errors import CASError, ImageError
from napari_cas.store import metadata
from napari_cas.store.levels import how_to_reach, open_levels
from napari_cas.store.loaded import LoadedImage, check_chunks, plain, stem
from napari_cas.store.pictures import PICTURE_SUFFIXES, read_picture
from napari_cas.store.rasters import TIFF_SUFFIXES
from napari_cas.store.regular import store_at
from napari_cas.store.tiffs import read_tiff

SUFFIXES = frozenset({".npy", ".zarr", *TIFF_SUFFIXES, *PICTURE_SUFFIXES})
"""What images in a folder are called, lower case."""


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
    return _read(path, ids=False)


def read_map(path: str | Path) -> LoadedImage:
    """Open a file as a map of regions: its pixels are ids.

    Parameters
    ----------
    path : str or Path
        File, Zarr directory or URL.

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
    return _read(path, ids=True)


def _read(path: str | Path, *, ids: bool) -> LoadedImage:
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
            return read_tiff(Path(text), ids=ids)
        return read_picture(Path(text), ids=ids)
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


# NumPy ----------------------------------------------------------------------------------------


def _read_npy(path: Path) -> LoadedImage:
    data = np.load(path, mmap_mode="r", allow_pickle=False)
    return plain(data, guess_axes(data.shape), path)


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
    name = stem(source.rstrip("/").split("/")[-1])
    if isinstance(node, zarr.Array):
        check_chunks(node, source)
        axes = _named_axes(node) or guess_axes(node.shape)
        return plain(node, axes, Path(name))
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
    stored = sorted(zip(meta.order, meta.axes, meta.scale, meta.units, strict=True))
    return LoadedImage(
        data=levels[0],
        axes="".join(axis for _, axis, _, _ in stored),
        scale=tuple(scale for _, _, scale, _ in stored),
        units=tuple(unit for _, _, _, unit in stored),
        channel_names=meta.channel_names or None,
        name=meta.name or name,
        source=source if "://" in source else str(Path(source).resolve()),
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
