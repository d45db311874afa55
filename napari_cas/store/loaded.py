"""An image that was opened, whatever the kind of file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cas.errors import ImageError
from napari_cas.store.levels import readable
from napari_cas.store.metadata import canonical_axes

if TYPE_CHECKING:
    import zarr

    from napari_cas.store.arraylike import ArrayLike


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


def plain(data: ArrayLike, axes: str, path: Path, **more: Any) -> LoadedImage:  # noqa: ANN401
    """Return an image of a file that says no more than its pixels, or `more` of it by name."""
    count = len(axes)
    options: dict[str, Any] = {
        "scale": (1.0,) * count,
        "units": (None,) * count,
        "channel_names": None,
        **more,
    }
    return LoadedImage(data, axes, name=stem(path), **options)


def stem(path: str | Path) -> str:
    """Return the name of a file, folder or URL without what says its kind."""
    name = Path(path).name
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem or name


def given_axes(axes: str, shape: tuple[int, ...], path: str | Path, *, ids: bool = False) -> str:
    """Return the axes that somebody gave for a file that does not say its own.

    Parameters
    ----------
    axes : str
        Letters of t, c, z, y, x.
    shape : tuple of int
        Of the pixels.
    path : str or Path
        The file.
    ids : bool, optional
        Whether it is a map of regions, which may lack the channels that images have.

    Raises
    ------
    ImageError
        They do not fit.
    """
    if ids and len(shape) == len(axes) - 1:
        axes = axes.lower().replace("c", "")
    if len(shape) != len(axes):
        raise ImageError(
            f"The axes given do not fit {path}",
            expected=f"{len(shape)} letters for shape {shape}",
            got=repr(axes),
        )
    canonical_axes(axes)
    return axes.lower()


def check_chunks(array: zarr.Array[Any], source: str) -> None:
    """Refuse an array that cannot be read chunk by chunk.

    Raises
    ------
    ImageError
        It holds no numbers, or a chunk does not fit into memory.
    """
    if not readable(array, array.ndim):
        raise ImageError(
            f"{source} cannot be read",
            expected="an array of numbers with chunks below 1 GiB",
            got=repr(array)[:200],
        )
