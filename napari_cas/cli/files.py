"""Images and region maps from files, into a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import CASError, ImageError, InputError, ProjectError, RegionError
from napari_cas.session import NewImage
from napari_cas.store.intake import Source, as_array
from napari_cas.store.loaded import stem
from napari_cas.store.metadata import canonical_axes
from napari_cas.store.readers import SUFFIXES, images_in, read_image, read_map
from napari_cas.store.root import local_path
from napari_cas.store.sampling import with_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_cas.store import ImageEntry
    from napari_cas.store.arraylike import ArrayLike

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


def refuse_lone_url(paths: Sequence[str], hint: str) -> None:
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

    So does a collection of OME-Zarr images. Projects in a folder are no images, nor is what is
    hidden, such as the notes that macOS leaves beside each file on other disks.

    Raises
    ------
    InputError
        There are none.
    """
    found: list[str] = []
    for path in paths:
        if not path:  # else it would stand for the folder in which the command was typed
            raise InputError("An image has an empty name", expected="a path", got=repr(path))
        folder = Path(path)
        is_plain = "://" not in path and _is_folder(folder) and folder.suffix != ".zarr"
        here = [path]
        if is_plain and not any((folder / name).exists() for name in _ZARR):
            here = [str(p) for p in sorted(folder.iterdir()) if _is_image(p)]
        found += [image for one in here for image in images_in(one)]
    if not found:
        raise InputError(
            "No images found", expected="image files or folders of them", got=", ".join(paths)
        )
    return found


def _is_folder(path: Path) -> bool:
    """Return whether it is one that may be looked at; reading the image says why not."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_image(path: Path) -> bool:
    named = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return named and not (path.is_dir() and is_project(path))


def pair(images: Sequence[str], regions: Sequence[str]) -> list[tuple[str, str]]:
    """Match images and region maps by name, such as ``a.png`` with ``a.png`` or ``a_regions.tif``.

    A map goes with the longest name that it begins with: ``a_2_regions`` is of ``a_2``, not ``a``.

    Raises
    ------
    InputError
        An image has no region map, or more than one, or is one.
    """
    both = sorted({*images} & {*regions})
    if both:
        raise InputError(
            "A file cannot be an image and a map of regions",
            got=", ".join(both[:5]),
            todo="Put the maps into a folder of their own, or name them one by one.",
        )
    if len(images) == len(regions) == 1:
        return [(images[0], regions[0])]
    found = _by_image({stem(image) for image in images}, regions)
    pairs = []
    for image in images:
        name = stem(image)
        exact = [r for r in found[name] if stem(r) == name]
        matches = exact or found[name]
        if len(matches) != 1:
            raise InputError(
                f"Which regions belong to {image}?",
                expected=f"one file named {name} or {name}_…",
                got=", ".join(matches) or "none",
                todo="Give region maps the names of their images.",
            )
        pairs.append((image, matches[0]))
    return pairs


def _by_image(names: set[str], regions: Sequence[str]) -> dict[str, list[str]]:
    """Return the region maps of each name."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for path in regions:
        text = stem(path)
        cuts = [len(text), *(i for i in reversed(range(len(text))) if text[i] in "_-.")]
        owner = next((text[:cut] for cut in cuts if text[:cut] in names), None)
        if owner is not None:
            found[owner].append(path)
    return found


def check_axes(axes: str | None) -> None:
    """Make sure that what was given as axes can be some.

    Raises
    ------
    InputError
        It cannot.
    """
    if axes is None:
        return
    try:
        canonical_axes(axes)
    except ImageError as error:
        raise error.saying(what="--axes cannot be used") from None


def as_new_image(path: str, axes: str | None = None, *, refer: bool = False) -> NewImage:
    """Return an image file as a project takes it; an OME-Zarr may be referred to, not copied.

    Parameters
    ----------
    path : str
        File or URL.
    axes : str, optional
        What the dimensions are where the file does not say it.
    refer : bool
        Whether an OME-Zarr may be referred to.
    """
    image = read_image(path, axes)
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


def naming(error: CASError, path: str) -> CASError:
    """Return an error that says which file it is about; one of many may be meant."""
    return error if path in str(error) else error.saying(what=f"{path}: {error.what}")


def refuse_constant(image: NewImage) -> None:
    """Refuse to learn from an image in which nothing can be told apart, before it is taken.

    Raises
    ------
    ImageError
        If all its pixels are equal, beside those without data.
    """
    source = Source(as_array(image.data), image.axes)
    no_data = image.no_data if source.dtype.kind in "iu" else None
    seen: dict[int, set[float]] = {}
    for _, block in source.blocks():
        for channel, values in enumerate(with_data(block, source.canonical.find("c"), no_data)):
            known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
            if known.size:
                own = seen.setdefault(channel, set())
                own |= {float(known.min()), float(known.max())}
                if len(own) > 1:  # as a rule, at once
                    return
    if seen:  # else it has no data, which whoever takes it says
        got = ", ".join(dict.fromkeys(f"{min(own):g}" for own in seen.values()))
        raise ImageError(
            f"{image.name} is constant, so nothing in it can be told apart",
            expected="at least two different values",
            got=f"{got} everywhere",
        )


def paint(entry: ImageEntry, path: str, axes: str | None = None) -> int:
    """Paint a region map into an image and return how many regions it has.

    Where a raster's file says that there are no data, nothing is painted.

    Raises
    ------
    RegionError
        The map has another shape than the image, no whole numbers, or is a JPEG.
    """
    loaded = read_map(path, axes)
    axes = loaded.axes
    expected = f"whole numbers of shape {entry.label_shape} ({entry.label_axes})"
    if sorted(axes) != sorted(entry.label_axes):
        raise RegionError(
            f"{path} is no map of regions",
            expected=expected,
            got="colours" if "c" in axes else f"axes {axes}",
            todo=_NO_COLOURS if "c" in axes else "",
        )
    data = np.transpose(_whole(loaded.data), [axes.index(a) for a in entry.label_axes])
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


def _whole(data: ArrayLike) -> NDArray[np.generic]:
    """Return ids as integers where floats hold whole numbers, as some programs save them."""
    ids = np.asarray(data)
    if ids.dtype.kind != "f":
        return ids
    known = np.nan_to_num(ids, nan=0)  # where there are no data, nothing is painted
    fit = (known == np.rint(known)).all() and np.abs(known).max(initial=0) <= _INT32_MAX
    return known.astype(np.int64) if fit else ids


def paint_array(entry: ImageEntry, regions: NDArray[np.integer]) -> int:
    """Paint an array of region ids, plane by plane, and return how many regions it has."""
    count = 0
    for plane in entry.planes():
        ids = np.asarray(regions[plane]).astype(np.int32)
        entry.regions[(*plane, slice(None), slice(None))] = ids
        count += int(np.count_nonzero(np.unique(ids)))
    return count
