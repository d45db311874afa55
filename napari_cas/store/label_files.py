"""Labels as TIFF or PNG, for programs that do not read OME-Zarr."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_cas.errors import InputError
from napari_cas.store.files import safe_name, storing, temporary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_cas.store.image import ImageEntry
    from napari_cas.store.labels import LabelArray
    from napari_cas.store.project import Project
    from napari_cas.store.views import PredictionView

_TILE = 256


def export_labels(
    project: Project,
    folder: str | Path,
    *,
    images: Sequence[str] | None = None,
    include: Sequence[Literal["regions", "prediction"]] = ("prediction",),
    kind: Literal["tiff", "png"] = "tiff",
) -> list[Path]:
    """Write label images that any program reads; values are the labels, 0 for none.

    Parameters
    ----------
    project : Project
        Open in any mode.
    folder : str or Path
        Made if missing; files of the same names are replaced.
    images : sequence of str, optional
        Names; None: all.
    include : sequence of {"regions", "prediction"}
        The prediction has the corrections applied.
    kind : {"tiff", "png"}
        "tiff": one tiled file per image, of any size and with all planes. "png": one file per
        plane, 8 or 16 bits.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If a label does not fit into 16 bits of a PNG.
    StorageError
        If the file system refuses.
    """
    target = Path(folder)
    written: list[Path] = []
    with storing(target):
        target.mkdir(parents=True, exist_ok=True)
        for name in images if images is not None else project.images:
            entry = project.image(name)
            for part in include:
                array = entry.regions if part == "regions" else entry.prediction_view
                path = target / f"{safe_name(name)}_{part}"
                if kind == "tiff":
                    written.append(_write_tiff(path, entry, array))
                else:
                    written += _write_pngs(path, entry, array)
    return written


def _write_tiff(path: Path, entry: ImageEntry, array: LabelArray | PredictionView) -> Path:
    import tifffile

    path = path.with_name(path.name + ".tif")
    draft = temporary(path)
    try:
        tifffile.imwrite(
            draft,
            _tiles(entry, array),
            shape=array.shape,
            dtype=array.dtype,
            tile=(_TILE, _TILE),
            compression="zlib",
            photometric="minisblack",  # else three planes become red, green and blue
            bigtiff=array.nbytes > 2**31,
            metadata={"axes": entry.label_axes.upper()},
        )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _tiles(entry: ImageEntry, array: LabelArray | PredictionView) -> Iterator[NDArray[Any]]:
    height, width = entry.plane_size
    for plane in entry.planes():
        for y in range(0, height, _TILE):
            for x in range(0, width, _TILE):
                tile = np.zeros((_TILE, _TILE), array.dtype)
                part = array[(*plane, slice(y, y + _TILE), slice(x, x + _TILE))]
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile


def _write_pngs(path: Path, entry: ImageEntry, array: LabelArray | PredictionView) -> list[Path]:
    import imageio.v3 as imageio

    written: list[Path] = []
    for plane in entry.planes():
        labels = np.asarray(array[plane])
        top = int(labels.max())
        if top > np.iinfo(np.uint16).max:
            raise InputError(
                "Label too large for PNG", expected="at most 65535", got=str(top), todo="Use TIFF."
            )
        suffix = "".join(f"_{a}{i}" for a, i in zip(entry.plane_axes, plane, strict=True))
        file = path.with_name(f"{path.name}{suffix}.png")
        draft = temporary(file).with_suffix(".png")
        try:
            imageio.imwrite(draft, labels.astype(np.uint8 if top < 256 else np.uint16))
            shutil.move(draft, file)
        finally:
            draft.unlink(missing_ok=True)
        written.append(file)
    return written
