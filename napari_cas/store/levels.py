"""The arrays behind an image: its resolution levels, wherever they are, and its empty labels."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_cas.errors import ImageError, ProjectFormatError
from napari_cas.store import metadata
from napari_cas.store.chunks import ChunkFiles
from napari_cas.store.colors import image_label_colors
from napari_cas.store.files import make_group, read_group
from napari_cas.store.regular import store_at

if TYPE_CHECKING:
    from collections.abc import Sequence

LABELS = {"regions": "int32", "corrections": "uint8", "prediction": "uint8"}
"""The label arrays of an image and their types."""

_CHUNK_LIMIT = 1 << 30


def open_levels(
    source: str, attributes: dict[str, Any] | None = None
) -> tuple[list[zarr.Array[Any]], metadata.ImageMetadata]:
    """Open all resolution levels of an OME-Zarr image (0.4 or 0.5), local or by URL.

    Raises
    ------
    ProjectFormatError
        If it is no usable OME-Zarr image.
    ImageError
        If it cannot be reached or its axes cannot be used.
    """
    try:
        group = zarr.open_group(store_at(source), mode="r")
    except Exception as error:
        # Missing libraries, unreachable hosts, foreign files: each store raises its own.
        raise ImageError(
            f"{source} cannot be opened",
            expected="an OME-Zarr image",
            got=what_is_there(error, source),
            todo=how_to_reach(error),
        ) from error
    meta = metadata.parse(attributes if attributes is not None else dict(group.attrs), source)
    levels: list[zarr.Array[Any]] = []
    for path in meta.paths:
        try:
            array = group[path]
        except Exception as error:
            raise ProjectFormatError(
                f"{source}/{path} is damaged",
                expected="a Zarr array",
                got=f"{type(error).__name__}: {error}",
            ) from error
        levels.append(_check_level(array, f"{source}/{path}", len(meta.axes)))
    return levels, meta


def what_is_there(error: BaseException, source: str) -> str:
    """Return in words what was found at a path or URL in the place of Zarr, or of a group."""
    if isinstance(error, zarr.errors.ContainsArrayError):
        return "a Zarr array"
    if not isinstance(error, FileNotFoundError):
        reason = error.strerror if isinstance(error, OSError) else None
        return reason or f"{type(error).__name__}: {error}"
    if "://" in source:
        return "nothing there that is Zarr"
    place = Path(source)
    if not place.is_dir():
        return "a file" if place.exists() else "no such folder"
    return "a Zarr array" if (place / ".zarray").exists() else "a folder that is not Zarr"


def how_to_reach(error: BaseException) -> str:
    """Return what to do about an image that cannot be opened, where that is known."""
    if not isinstance(error, ImportError):
        return ""
    return (
        'HTTP and S3 need extra packages: pip install "napari-cas[remote]". For other places '
        "install the package that is missing."
    )


def _check_level(array: object, where: str, ndim: int) -> zarr.Array[Any]:
    if not isinstance(array, zarr.Array) or not readable(array, ndim):
        raise ProjectFormatError(
            f"{where} is damaged",
            expected=f"an array of numbers with {ndim} axes and chunks below 1 GiB",
            got=repr(array)[:200],
        )
    return array


def readable(array: zarr.Array[Any], ndim: int) -> bool:
    """Return whether an array holds numbers along `ndim` axes, in chunks that fit into memory."""
    dtype = np.dtype(array.dtype)
    inner, stored = math.prod(array.chunks), math.prod(array.shards or array.chunks)
    usable = array.ndim == ndim and 0 not in array.shape and dtype.kind in "iufb"
    # A shard begins or ends with 16 bytes for each of its chunks (sharding specification 1.0).
    index = 16 * stored // max(inner, 1) if array.shards else 0
    return usable and max(inner * dtype.itemsize, index) <= _CHUNK_LIMIT


def locate(reference: object, folder: Path) -> str:
    """Return the URL or path of a referred image; a path is also looked for next to the project.

    Raises
    ------
    ProjectFormatError
        If the reference is damaged or the file is gone.
    """
    url = reference.get("url") if isinstance(reference, dict) else None
    if not isinstance(url, str) or not url:
        raise ProjectFormatError(
            f"{folder / 'zarr.json'} is damaged", expected="a reference", got=repr(reference)[:200]
        )
    if "://" in url:
        return url
    relative = reference.get("relative") if isinstance(reference, dict) else None
    candidates = [Path(url)]
    if isinstance(relative, str):
        candidates.append(Path(os.path.normpath(folder / relative)))
    state, got = "is gone", "no such file"
    for path in candidates:
        try:
            if path.exists():
                return str(path)
        except OSError as error:  # somebody else's folder, or no name that a file can have
            state, got = "cannot be reached", error.strerror or type(error).__name__
    raise ProjectFormatError(
        f"The image that {folder.name} refers to {state}", expected=url, got=got
    )


def write_labels(
    folder: Path,
    name: str,
    axes: str,
    shape: tuple[int, ...],
    scale: Sequence[float],
    units: Sequence[str | None],
    translation: Sequence[float] | None = None,
) -> None:
    """Make the empty label arrays of an image.

    Parameters
    ----------
    folder : Path
        Directory of the image.
    name : str
        Name of the image.
    axes : str
        Label axes.
    shape : tuple of int
        Label shape.
    scale, units : sequence
        Pixel size and unit per label axis.
    translation : sequence, optional
        Place of the first pixel per label axis.

    Raises
    ------
    StorageError
        If the file system refuses.
    """
    listed = [label for label in LABELS if label != "corrections"]
    make_group(folder / "labels", {"ome": {"version": metadata.OME_VERSION, "labels": listed}})
    for label, dtype in LABELS.items():
        entry = metadata.multiscales(
            f"{name} {label}", axes, ["0"], scale, units, method=None, translation=translation
        )
        image_label: dict[str, Any] = {
            "version": metadata.OME_VERSION,
            "source": {"image": "../../"},
        }
        if label == "prediction":
            image_label["colors"] = image_label_colors(range(1, 65))
        ome = {
            "version": metadata.OME_VERSION,
            "multiscales": [entry],
            "image-label": image_label,
        }
        make_group(folder / "labels" / label, {"ome": ome})
        ChunkFiles.create(folder / "labels" / label / "0", shape, dtype, axes)


def add_labels(draft: Path, name: str) -> None:
    """Add the empty label arrays to a new image, shaped as it is."""
    attributes = read_group(draft)
    own = attributes["napari-cas"]
    source = own["reference"]["url"] if "reference" in own else str(draft)
    levels, meta = open_levels(source)
    keep = [i for i, axis in enumerate(meta.axes) if axis != "c"]
    write_labels(
        draft,
        name,
        "".join(meta.axes[i] for i in keep),
        tuple(levels[0].shape[meta.order[i]] for i in keep),
        [meta.scale[i] for i in keep],
        [meta.units[i] for i in keep],
        [meta.translation[i] for i in keep],
    )
