"""Copying an image of any size, type and order of axes into a project, block by block."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from napari_cas.errors import ImageError
from napari_cas.store import metadata, pyramid
from napari_cas.store.files import storing, write_group
from napari_cas.store.sampling import (
    Intensity,
    no_data_error,
    read_pixels,
    sample_intensity,
    with_data,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cas.store.arraylike import ArrayLike

IMAGE_CHUNK = 512
"""Side of a chunk of pixels."""

BLOCK_BYTES = 128 << 20
"""Bound on the memory of one block while copying."""


def as_array(data: object) -> ArrayLike:
    """Return `data` itself if it can be sliced, else (a list, a PIL image) as a NumPy array."""
    if hasattr(data, "shape") and hasattr(data, "dtype") and hasattr(data, "__getitem__"):
        return cast("ArrayLike", data)
    return np.asarray(data)


@dataclass
class Source:
    """An image as given: an array-like and what its axes mean, brought into canonical order.

    Parameters
    ----------
    data : array-like
        Anything with a shape, a dtype and slicing: NumPy, Dask, Zarr.
    axes : str
        Letters t, c, z, y, x in any order, one per dimension.

    Raises
    ------
    ImageError
        If the axes, the type or the size cannot be used.
    """

    data: ArrayLike
    axes: str
    canonical: str = field(init=False)
    order: tuple[int, ...] = field(init=False)
    shape: tuple[int, ...] = field(init=False)
    dtype: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        given = tuple(int(n) for n in self.data.shape)
        if len(given) != len(self.axes):
            raise ImageError(
                "Axes do not fit the image",
                expected=f"{len(given)} letters for shape {given}",
                got=repr(self.axes),
            )
        self.canonical, self.order = metadata.canonical_axes(self.axes)
        self.shape = tuple(given[i] for i in self.order)
        if 0 in given:
            raise ImageError("The image is empty", expected="pixels", got=f"shape {given}")
        self.dtype = stored_dtype(np.dtype(self.data.dtype))

    def steps(self) -> dict[str, int]:
        """Return the size of the blocks to copy, per axis: the source's own chunks, bounded."""
        sizes = dict(zip(self.canonical, self.shape, strict=True))
        chunks = source_chunks(self.data)
        step = {}
        for axis, position in zip(self.canonical, self.order, strict=True):
            own = chunks[position] if chunks else 1
            if axis in "yx":
                own = min(max(2 * IMAGE_CHUNK, -(-own // IMAGE_CHUNK) * IMAGE_CHUNK), 8192)
            step[axis] = min(sizes[axis] if axis == "c" else own, sizes[axis])
        itemsize = max(self.dtype.itemsize, np.dtype(self.data.dtype).itemsize)
        for axis, least in (("x", 512), ("y", 512), ("t", 1), ("z", 1), ("c", 1)):
            while axis in step and step[axis] > least and _product(step) * itemsize > BLOCK_BYTES:
                half = max(least, step[axis] // 2)
                step[axis] = half if least == 1 else -(-half // least) * least
                if step[axis] > half and half == least:
                    break
        return step

    def blocks(self) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
        """Yield slices in canonical order and the pixels there, in the source's type."""
        step = self.steps()
        starts = [
            range(0, n, step[axis]) for axis, n in zip(self.canonical, self.shape, strict=True)
        ]
        for corner in itertools.product(*starts):
            where = tuple(
                slice(s, min(s + step[axis], n))
                for s, axis, n in zip(corner, self.canonical, self.shape, strict=True)
            )
            own: list[slice] = [slice(None)] * len(where)
            for part, position in zip(where, self.order, strict=True):
                own[position] = part
            yield where, np.transpose(read_pixels(self.data, tuple(own)), self.order)

    def count_blocks(self) -> int:
        """Return how many blocks :meth:`blocks` yields."""
        step = self.steps()
        return _product(
            {a: -(-n // step[a]) for a, n in zip(self.canonical, self.shape, strict=True)}
        )


def _product(sizes: dict[str, int]) -> int:
    return int(np.prod(list(sizes.values()), dtype=np.int64))


def source_chunks(data: ArrayLike) -> tuple[int, ...] | None:
    """Return the chunk size per axis of a Zarr or Dask array; None for others."""
    chunks = getattr(data, "shards", None) or getattr(data, "chunks", None)
    if not isinstance(chunks, tuple) or len(chunks) != len(data.shape):
        return None
    return tuple(max(c) if isinstance(c, tuple) else int(c) for c in chunks)


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which an image is stored.

    Booleans become uint8, floats float32 (whose 24 bits exceed any camera's), integers stay.

    Raises
    ------
    ImageError
        For other types.
    """
    if dtype.kind == "b":
        return np.dtype("uint8")
    if dtype.kind == "f":
        return np.dtype("float32")
    if dtype.kind in "iu":
        # By size: C's long long is another type than its long where both have 64 bits, and is what
        # tifffile returns. Zarr knows only one of them.
        return np.dtype(f"{dtype.kind}{dtype.itemsize}")
    hint = "Take its absolute value or its real part." if dtype.kind == "c" else ""
    raise ImageError(
        "Unusable image type", expected="integers, floats or booleans", got=str(dtype), todo=hint
    )


@dataclass
class _Tally:
    """What was seen of an image while copying it."""

    channel: int
    no_data: int | None
    low: float = np.inf
    high: float = -np.inf
    missing: int = 0
    bad: int = 0
    total: int = 0

    def add(self, block: NDArray[Any]) -> None:
        self.total += block.size
        if block.dtype.kind == "f":
            self.bad += int(np.count_nonzero(np.isinf(block)))
            gaps = np.isnan(block)
            self.missing += int(np.count_nonzero(gaps))
            block = block[~gaps]
        elif self.no_data is not None:
            known = with_data(block, self.channel, self.no_data)
            self.missing += block.size - known.size
            block = known
        if block.size:
            self.low = min(self.low, float(block.min()))
            self.high = max(self.high, float(block.max()))

    def check(self) -> None:
        if self.bad:
            raise ImageError(
                "The image has infinite pixels, or beyond the range of float32",
                expected="finite numbers, or NaN where there are no data",
                got=f"{self.bad} of {self.total} pixels",
                todo="Replace them, for example by numpy.nan_to_num.",
            )
        if self.missing == self.total:
            raise no_data_error(self.total, self.no_data)


def write_image(
    folder: Path,
    name: str,
    source: Source,
    *,
    scale: Sequence[float] | None = None,
    units: Sequence[str | None] | None = None,
    translation: Sequence[float] | None = None,
    channel_names: Sequence[str] | None = None,
    no_data: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `source` as a multiscale OME-Zarr 0.5 image.

    Parameters
    ----------
    folder : Path
        New directory.
    name : str
        Name in the metadata.
    source : Source
        The image.
    scale, units : sequence, optional
        Pixel size and its unit per axis, in the order of the axes as given.
    translation : sequence, optional
        Place of the first pixel per axis, in these units and this order.
    channel_names : sequence of str, optional
        One per channel.
    no_data : int, optional
        Of integers: pixels that are this in all channels hold no data.
    progress : callable, optional
        Called with blocks done and blocks in total; it may raise to stop.

    Raises
    ------
    ImageError
        If pixels cannot be read, are infinite or all without data.
    StorageError
        If the file system refuses.
    """
    spacing, named_units = _per_axis(source, scale, units)
    origin = _origin(source, translation)
    names = _names(source, channel_names)
    no_data = no_data if source.dtype.kind in "iu" else None
    shapes = pyramid.level_shapes(source.shape)
    paths = [str(level) for level in range(len(shapes))]
    total = _Counter(_count(source, shapes), progress)
    with storing(folder):
        folder.mkdir()
        levels = [
            create_level(folder / path, shape, source.dtype, source.canonical)
            for path, shape in zip(paths, shapes, strict=True)
        ]
        tally = _Tally(source.canonical.find("c"), no_data)
        _copy(source, levels[0], tally, total.step)
        tally.check()
        pyramid.build(levels, pyramid.halve_mean, total.step)
        whole = tally.low, tally.high
        seen = sample_intensity(levels[0], source.canonical, whole, no_data)
        intensity = replace(seen, missing=tally.missing / tally.total)
    entry = metadata.multiscales(
        name, source.canonical, paths, spacing, named_units, translation=origin
    )
    ome: dict[str, Any] = {"version": metadata.OME_VERSION, "multiscales": [entry]}
    least, most = _limits(source.dtype, tally)
    limits = least, max(most, *intensity.high)  # of equal pixels the range ends above
    ome["omero"] = metadata.omero(names, intensity.low, intensity.high, limits)
    own = {"intensity": intensity.as_json()}
    write_group(folder, {"ome": ome, "napari-cas": own})


def _copy(source: Source, level: zarr.Array[Any], tally: _Tally, step: Callable[[], None]) -> None:
    """Write all blocks that are not empty, and count what is in them."""
    for where, block in source.blocks():
        with np.errstate(over="ignore", invalid="ignore"):
            stored = block.astype(source.dtype, copy=False)
        tally.add(stored)
        if stored.any():
            level[where] = stored
        step()


@dataclass
class _Counter:
    total: int
    report: Callable[[int, int], None] | None
    done: int = 0

    def step(self) -> None:
        self.done += 1
        if self.report is not None:
            self.report(min(self.done, self.total), self.total)


def _count(source: Source, shapes: list[tuple[int, ...]]) -> int:
    coarse = sum(sum(1 for _ in pyramid.blocks(shape)) for shape in shapes[:-1])
    return source.count_blocks() + coarse


def create_level(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], axes: str
) -> zarr.Array[Any]:
    """Create the array of one resolution level, with chunks of one plane and channel."""
    chunk = (*(1 for _ in shape[:-2]), *(min(n, IMAGE_CHUNK) for n in shape[-2:]))
    return zarr.create_array(
        store=str(path),
        shape=shape,
        chunks=chunk,
        dtype=dtype,
        compressors=ZstdCodec(level=1),
        fill_value=0,
        dimension_names=list(axes),
        zarr_format=3,
    )


def _per_axis(
    source: Source, scale: Sequence[float] | None, units: Sequence[str | None] | None
) -> tuple[list[float], list[str | None]]:
    count = len(source.axes)
    given = [1.0] * count if scale is None else [float(value) for value in scale]
    named = [None] * count if units is None else [metadata.unit_name(unit) for unit in units]
    if len(given) != count or not all(0 < value < np.inf for value in given):
        raise ImageError(
            "Unusable scale", expected=f"{count} positive numbers for {source.axes}", got=str(given)
        )
    if len(named) != count:
        raise ImageError(
            "Unusable units", expected=f"{count} for axes {source.axes}", got=str(list(named))
        )
    return [given[i] for i in source.order], [named[i] for i in source.order]


def _origin(source: Source, translation: Sequence[float] | None) -> list[float]:
    count = len(source.axes)
    given = [0.0] * count if translation is None else [float(value) for value in translation]
    if len(given) != count or not np.isfinite(given).all():
        raise ImageError(
            "Unusable translation",
            expected=f"{count} finite numbers for {source.axes}",
            got=str(given),
        )
    return [given[i] for i in source.order]


def _names(source: Source, names: Sequence[str] | None) -> list[str]:
    count = source.shape[source.canonical.index("c")] if "c" in source.canonical else 1
    if names is None:
        rgb = count == 3 and source.axes.endswith("c")
        return ["red", "green", "blue"] if rgb else metadata.default_channel_names(count)
    if len(names) != count:
        raise ImageError("Unusable channel names", expected=f"{count}", got=f"{len(names)}")
    return [str(name) for name in names]


def _limits(dtype: np.dtype[Any], tally: _Tally) -> tuple[float, float]:
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    return tally.low, tally.high


__all__ = ["IMAGE_CHUNK", "Intensity", "Source", "create_level", "stored_dtype", "write_image"]
