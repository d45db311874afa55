"""Export: a finished OME-Zarr 0.5 data set that needs nothing of ours to be read.

One image becomes a plain OME-Zarr image with its labels. Several become a collection in the
``bioformats2raw.layout`` of the specification (images "0", "1", ... and an ``OME`` group), which is
what napari-ome-zarr opens as a whole; ome-zarr-py reads the images in it one by one. Regions or
predictions without their image become a ``labels`` group.

The data set is written under a temporary name and renamed when complete.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from napari_cas.errors import InputError, ProjectError, ProjectFormatError
from napari_cas.store import metadata, pyramid
from napari_cas.store.colors import image_label_colors
from napari_cas.store.files import (
    make_group,
    read_group,
    refuse_devices,
    refuse_url,
    storing,
    temporary,
    write_group,
)
from napari_cas.store.intake import Source, create_level
from napari_cas.store.links import is_link
from napari_cas.store.omexml import ome_xml
from napari_cas.store.replacing import replace_directory
from napari_cas.store.shown import default_omero, into_omero

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_cas.store.image import ImageEntry
    from napari_cas.store.labels import LabelArray
    from napari_cas.store.project import Project
    from napari_cas.store.views import PredictionView

Part: TypeAlias = Literal["images", "regions", "prediction"]
PARTS: tuple[Part, ...] = ("images", "regions", "prediction")
"""What can be exported."""

_BLOCK = 1024
_MOST_COLORS = 65_536


class _CancelledError(Exception):
    """Raised between two blocks when the caller wants to stop."""


@dataclass
class _Ticker:
    """Counts blocks and asks whether to go on."""

    progress: Callable[[int, int], None] | None
    cancelled: Callable[[], bool] | None
    total: int = 0
    done: int = 0

    def step(self) -> None:
        self.done += 1
        if self.cancelled is not None and self.cancelled():
            raise _CancelledError
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)


def export(
    project: Project,
    path: str | Path,
    *,
    images: Sequence[str] | None = None,
    include: Sequence[Part] = PARTS,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Path | None:
    """Write images, regions and predictions as an OME-Zarr 0.5 data set.

    Parameters
    ----------
    project : Project
        Open in any mode. What is painted but not yet on disk is exported too.
    path : str or Path
        New directory.
    images : sequence of str, optional
        Names; None: all.
    include : sequence of {"images", "regions", "prediction"}
        What to write. The prediction has the corrections applied.
    overwrite : bool
        Whether an existing data set at `path` is replaced, once the new one is complete.
    progress : callable, optional
        Called with blocks done and blocks in total.
    cancelled : callable, optional
        Asked between blocks; when it returns True, nothing is left behind.

    Returns
    -------
    Path or None
        The data set; None if cancelled.

    Raises
    ------
    InputError
        If there is nothing to export, or `path` is a URL.
    ProjectError
        If something is at `path` already, if it is to be replaced and is not a data set, or if an
        image is unknown.
    StorageError
        If the file system refuses; nothing is left behind.
    """
    refuse_url(path, "A data set")
    target = Path(path).resolve()
    entries = [project.image(name) for name in (images if images is not None else project.images)]
    parts = [part for part in PARTS if part in include]
    if not entries or not parts or set(include) - set(PARTS):
        raise InputError(
            "Nothing to export",
            expected=f"images and some of {', '.join(PARTS)}",
            got=f"{len(entries)} images, {', '.join(map(str, include)) or 'no parts'}",
        )
    _refuse_existing(target, overwrite=overwrite)
    _refuse_inside(target, project.path)
    ticker = _Ticker(progress, cancelled)
    ticker.total = sum(_count(entry, part) for entry in entries for part in parts)
    draft = temporary(target)
    try:
        with storing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(draft, entries, parts, ticker)
            replace_directory(draft, target)
    except _CancelledError:
        shutil.rmtree(draft, ignore_errors=True)
        return None
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return target


def _refuse_existing(target: Path, *, overwrite: bool) -> None:
    """Raise where something is in the way; only what an export may have written is replaced."""
    with storing(target):  # a folder on the way may be somebody else's
        there = target.exists()
    if not there:
        return
    if not overwrite:
        raise ProjectError(f"{target} exists already", todo="Choose another name.")
    try:
        ours = "ome" in read_group(target) and all(map(_is_part, target.iterdir()))
    except ProjectFormatError:
        ours = target.is_dir() and not any(target.iterdir())
    if not ours:
        raise ProjectError(
            f"{target} is not replaced",
            expected="an OME-Zarr data set with nothing else in it, or an empty folder",
            got="a folder with other files" if target.is_dir() else "a file",
            todo="Choose another name, or remove it yourself.",
        )


def _is_part(path: Path) -> bool:
    return path.name == "zarr.json" or (path / "zarr.json").is_file() or path.name == "OME"


def _refuse_inside(target: Path, project: Path) -> None:
    if target == project or project in target.parents or target in project.parents:
        raise ProjectError(
            f"{target} cannot be written",
            expected="a place outside the project",
            got=f"a project at {project}",
        )


def _write(draft: Path, entries: list[ImageEntry], parts: list[Part], ticker: _Ticker) -> None:
    if len(entries) == 1:
        _write_entry(draft, entries[0], parts, ticker)
        return
    for number, entry in enumerate(entries):
        _write_entry(draft / str(number), entry, parts, ticker)
    version = metadata.OME_VERSION
    series = [str(number) for number in range(len(entries))]
    make_group(draft / "OME", {"ome": {"version": version, "series": series}})
    (draft / "OME" / "METADATA.ome.xml").write_text(ome_xml(entries), encoding="utf-8")
    write_group(draft, {"ome": {"version": version, "bioformats2raw.layout": 3}})


def _write_entry(folder: Path, entry: ImageEntry, parts: list[Part], ticker: _Ticker) -> None:
    labels: list[Part] = [part for part in parts if part != "images"]
    whole = "images" in parts
    if whole:
        _write_image(folder, entry, ticker)
    parent = folder / "labels" if whole else folder
    for part in labels:
        _write_labels(parent / part, entry, part, ticker, linked=whole)
    if labels:
        ome = {"version": metadata.OME_VERSION, "labels": list(labels)}
        write_group(parent, {"ome": ome})


# Images ---------------------------------------------------------------------------------------


def _write_image(folder: Path, entry: ImageEntry, ticker: _Ticker) -> None:
    shapes = pyramid.level_shapes(entry.shape)
    paths = [str(level) for level in range(len(shapes))]
    if entry.source == str(entry.folder):
        for path in paths:
            _copy_array(entry.folder / path, folder / path, ticker)
        stored = read_group(entry.folder)["ome"]
        write_group(folder, {"ome": stored})
        return
    source = Source(entry.levels[0], entry.axes)
    folder.mkdir(parents=True)
    levels = [
        create_level(folder / path, shape, source.dtype, entry.axes)
        for path, shape in zip(paths, shapes, strict=True)
    ]
    for where, block in source.blocks():
        levels[0][where] = block.astype(source.dtype, copy=False)
        ticker.step()
    pyramid.build(levels, pyramid.halve_mean, ticker.step)
    multi = metadata.multiscales(
        entry.name, entry.axes, paths, entry.scale, entry.units, translation=entry.translation
    )
    ome: dict[str, Any] = {"version": metadata.OME_VERSION, "multiscales": [multi]}
    ome["omero"] = into_omero(default_omero(entry), entry.shown)
    write_group(folder, {"ome": ome})


def _copy_array(source: Path, target: Path, ticker: _Ticker) -> None:
    """Copy the files of an array that this package wrote, a directory of chunks at a time."""
    for folder, _, names in os.walk(source):
        copy = target / Path(folder).relative_to(source)
        copy.mkdir(parents=True, exist_ok=True)
        for name in names:
            if name == "zarr.json" or name.isdigit():
                _copy_file(Path(folder) / name, copy / name)
        ticker.step()


def _copy_file(source: Path, target: Path) -> None:
    if is_link(source):
        raise ProjectFormatError(
            f"{source} is a symbolic link",
            expected="a file of the project's own",
            got=f"a link to {source.readlink()}",
            todo="Put the file in its place; what links lead to is not given away.",
        )
    refuse_devices(source)
    shutil.copyfile(source, target)


# Labels ---------------------------------------------------------------------------------------


def _labels(entry: ImageEntry, part: Part) -> LabelArray | PredictionView:
    return entry.regions if part == "regions" else entry.prediction_view


def label_blocks(array: LabelArray | PredictionView) -> Iterator[tuple[slice, ...]]:
    """Yield slices of up to 1024 × 1024 pixels that cover all painted chunks of an array."""
    corners = {
        (*plane, box.y0 // _BLOCK, box.x0 // _BLOCK) for plane, box in array.painted_chunks()
    }
    height, width = array.shape[-2:]
    for *plane, row, column in sorted(corners):
        y, x = row * _BLOCK, column * _BLOCK
        yield (
            *(slice(i, i + 1) for i in plane),
            slice(y, min(y + _BLOCK, height)),
            slice(x, min(x + _BLOCK, width)),
        )


def _write_labels(
    folder: Path, entry: ImageEntry, part: Part, ticker: _Ticker, *, linked: bool
) -> None:
    array = _labels(entry, part)
    # As many levels as the image, and each half the one before, as the specification asks.
    shapes = pyramid.level_shapes(entry.label_shape)
    paths = [str(level) for level in range(len(shapes))]
    folder.mkdir(parents=True)
    levels = [
        create_level(folder / path, shape, array.dtype, entry.label_axes)
        for path, shape in zip(paths, shapes, strict=True)
    ]
    found: set[int] = set()
    for where in label_blocks(array):
        block = np.asarray(array[where])
        found.update(np.unique(block).tolist())
        levels[0][where] = block
        ticker.step()
    pyramid.build(levels, pyramid.halve_mode, ticker.step)
    shown = sorted(found - {0})[:_MOST_COLORS]
    image_label: dict[str, Any] = {
        "version": metadata.OME_VERSION,
        "colors": image_label_colors(shown),
    }
    if part == "prediction" and (named := _named(entry, shown)):
        image_label["properties"] = named
    if linked:
        image_label["source"] = {"image": "../../"}
    multi = metadata.multiscales(
        part,
        entry.label_axes,
        paths,
        entry.label_scale,
        entry.label_units,
        method="mode",
        translation=entry.label_translation,
    )
    ome = {"version": metadata.OME_VERSION, "multiscales": [multi], "image-label": image_label}
    write_group(folder, {"ome": ome})


def _named(entry: ImageEntry, labels: list[int]) -> list[dict[str, Any]]:
    """Return the ``properties`` of OME-Zarr's ``image-label``: the names that labels were given.

    Labels without a name are in it, too, where others have one: it and ``colors`` are only valid
    together if they are of the same labels.
    """
    names = entry.naming.names
    if names.keys().isdisjoint(labels):
        return []
    return [{"label-value": k} | ({"name": names[k]} if k in names else {}) for k in labels]


def _count(entry: ImageEntry, part: Part) -> int:
    if part == "images":
        if entry.source == str(entry.folder):
            shapes = pyramid.level_shapes(entry.shape)
            return sum(1 for n in range(len(shapes)) for _ in os.walk(entry.folder / str(n)))
        coarse = sum(sum(1 for _ in pyramid.blocks(s)) for s in pyramid.level_shapes(entry.shape))
        return Source(entry.levels[0], entry.axes).count_blocks() + coarse
    shapes = pyramid.level_shapes(entry.label_shape)
    coarse = sum(sum(1 for _ in pyramid.blocks(shape)) for shape in shapes[:-1])
    return coarse + sum(1 for _ in label_blocks(_labels(entry, part)))
