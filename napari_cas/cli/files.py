"""Images and region maps from files, into a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import InputError, ProjectError, RegionError
from napari_cas.session import NewImage
from napari_cas.store.readers import SUFFIXES, read_image, read_map
from napari_cas.store.root import local_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_cas.store import ImageEntry

_ZARR = ("zarr.json", ".zgroup", ".zarray")
"""One of these is in every folder that is Zarr, whatever it is called."""

_NO_COLOURS = (
    "Save the number of each pixel's region, 0 where nothing is painted: as a grey PNG or TIFF, or "
    "as a PNG with a palette, of which the indices are read."
)
_INT32_MAX = np.iinfo(np.int32).max


def is_project(path: str | Path) -> bool:
    """Return whether there is a project of ours at `path`."""
    try:
        content = json.loads((Path(path) / "zarr.json").read_bytes())
        return "format" in content["attributes"]["napari-cas"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def refuse_url(paths: Sequence[str], hint: str) -> None:
    """Say why a project cannot be at a URL, where a lone URL without options must mean one.

    Raises
    ------
    ProjectError
        It is a URL; `hint` says what else it may have been meant to be.
    """
    try:
        if len(paths) == 1:
            local_path(paths[0])
    except ProjectError as error:
        raise error.saying(todo=f"{error.todo} {hint}") from None


def describe(entry: ImageEntry) -> dict[str, Any]:
    """Return what an image is and what is painted on it, as JSON takes it."""
    planes = sorted({plane for plane, _ in entry.regions.painted_chunks()})
    painted = [entry.regions.ids(plane) for plane in planes]
    return {
        "axes": entry.axes,
        "shape": list(entry.shape),
        "type": str(entry.dtype),
        "channels": entry.n_channels,
        "painted_planes": len(planes),
        "regions": sum(map(len, painted)),
        "painted_pixels": sum(sum(ids.values()) for ids in painted),
    }


def find_images(paths: Sequence[str]) -> list[str]:
    """Return image files; a plain folder stands for the images in it, in order of name.

    Raises
    ------
    InputError
        There are none.
    """
    found: list[str] = []
    for path in paths:
        folder = Path(path)
        is_plain = "://" not in path and folder.is_dir() and folder.suffix != ".zarr"
        if is_plain and not any((folder / name).exists() for name in _ZARR):
            inside = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
            found += [str(p) for p in inside]
        else:
            found.append(path)
    if not found:
        raise InputError(
            "No images found", expected="image files or folders of them", got=", ".join(paths)
        )
    return found


def pair(images: Sequence[str], regions: Sequence[str]) -> list[tuple[str, str]]:
    """Match images and region maps by name, such as ``a.png`` with ``a.png`` or ``a_regions.tif``.

    Raises
    ------
    InputError
        An image has no region map, or more than one.
    """
    if len(images) == len(regions) == 1:
        return [(images[0], regions[0])]
    pairs = []
    for image in images:
        name = _stem(image)
        exact = [r for r in regions if _stem(r) == name]
        longer = [r for r in regions if _stem(r).startswith((f"{name}_", f"{name}-", f"{name}."))]
        matches = exact or longer
        if len(matches) != 1:
            raise InputError(
                f"Which regions belong to {image}?",
                expected=f"one file named {name} or {name}_…",
                got=", ".join(matches) or "none",
                todo="Give region maps the names of their images.",
            )
        pairs.append((image, matches[0]))
    return pairs


def as_new_image(path: str, *, refer: bool = False) -> NewImage:
    """Return an image file as a project takes it; an OME-Zarr may be referred to, not copied."""
    image = read_image(path)
    return NewImage(
        name=image.name,
        data=image.data,
        axes=image.axes,
        scale=image.scale,
        units=[unit or "" for unit in image.units] if any(image.units) else None,
        translation=image.translation,
        channel_names=image.channel_names,
        no_data=image.no_data,
        source=image.source if refer else None,
    )


def paint(entry: ImageEntry, path: str) -> int:
    """Paint a region map into an image and return how many regions it has.

    Where a raster's file says that there are no data, nothing is painted.

    Raises
    ------
    RegionError
        The map has another shape than the image, no whole numbers, or is a JPEG.
    """
    loaded = read_map(path)
    axes = loaded.axes
    expected = f"whole numbers of shape {entry.label_shape} ({entry.label_axes})"
    if sorted(axes) != sorted(entry.label_axes):
        raise RegionError(
            f"{path} is no map of regions",
            expected=expected,
            got="colours" if "c" in axes else f"axes {axes}",
            todo=_NO_COLOURS if "c" in axes else "",
        )
    data = np.transpose(np.asarray(loaded.data), [axes.index(a) for a in entry.label_axes])
    if data.shape != entry.label_shape or data.dtype.kind not in "iub":
        raise RegionError(
            f"{path} does not fit {entry.name}",
            expected=expected,
            got=f"{data.dtype} of shape {data.shape}",
        )
    if loaded.no_data:
        data = np.where(data == loaded.no_data, 0, data)
    if data.size and (int(data.min()) < 0 or int(data.max()) > _INT32_MAX):
        raise RegionError(f"{path} has ids out of range", expected=f"0 to {_INT32_MAX}")
    return paint_array(entry, data)


def paint_array(entry: ImageEntry, regions: NDArray[np.integer]) -> int:
    """Paint an array of region ids, plane by plane, and return how many regions it has."""
    count = 0
    for plane in entry.planes():
        ids = np.asarray(regions[plane]).astype(np.int32)
        entry.regions[(*plane, slice(None), slice(None))] = ids
        count += int(np.count_nonzero(np.unique(ids)))
    return count


def _stem(path: str) -> str:
    name = path.rstrip("/").split("/")[-1]
    for suffix in (".ome.tif", ".ome.tiff", ".ome.zarr"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem
