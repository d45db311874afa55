"""NumPy's indexing for arrays that are never in memory as a whole.

napari paints with plain slices, replays legacy history with tuples of integer arrays and asks for
single pixels; other code uses masks. All of it is reduced here to two things an array must do: read
or write a box of pixels with steps, and read or write a list of points.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_cas.errors import InputError, RegionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

Ranges: TypeAlias = tuple[range, ...]
"""Selected indices per axis, ascending."""

Points: TypeAlias = tuple["NDArray[np.intp]", ...]
"""One flat integer array per axis, all equally long and within bounds."""


class IndexedArray(ABC):
    """An integer array indexed as NumPy does, stored elsewhere.

    Subclasses implement reading and writing of boxes and points.

    Attributes
    ----------
    shape : tuple of int
        Length per axis.
    dtype : numpy.dtype
        Integer type.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes that all elements would take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a stored array cannot be viewed without a copy")
        return np.asarray(self[...], dtype=dtype)

    def __deepcopy__(self, _memo: object) -> NDArray[Any]:
        """Return the pixels, stored nowhere: napari asks for a copy to duplicate a layer."""
        return np.array(self[...])

    def astype(self, dtype: DTypeLike, **_more: object) -> NDArray[Any]:
        """Refuse: napari converts a layer's type by giving it another array.

        Raises
        ------
        RegionError
            Always.
        """
        raise RegionError(
            "Labels of a project keep their type",
            expected=str(self.dtype),
            got=str(np.dtype(dtype)),
            todo="Duplicate the layer and convert the copy, or export the project.",
        )

    @abstractmethod
    def read_box(self, ranges: Ranges) -> NDArray[Any]:
        """Return the elements at all combinations of `ranges`, a new array."""

    @abstractmethod
    def write_box(self, ranges: Ranges, values: NDArray[Any]) -> None:
        """Set the elements at all combinations of `ranges` to `values` of that shape."""

    @abstractmethod
    def read_points(self, points: Points) -> NDArray[Any]:
        """Return the elements at `points`, shape (n,)."""

    @abstractmethod
    def write_points(self, points: Points, values: NDArray[Any]) -> None:
        """Set the elements at `points` to `values`, shape (n,); the last of equal points wins."""

    def __getitem__(self, key: object) -> Any:  # noqa: ANN401 - an array or a scalar
        items = expand(key, self.shape)
        if not any(isinstance(item, np.ndarray) for item in items):
            ranges, flips, keep = plan(items, self.shape)
            block = self.read_box(ranges)[flips]
            return block.reshape([len(ranges[axis]) for axis in keep])[()]
        if not any(isinstance(item, slice) for item in items):
            points, shape = as_points(items, self.shape)
            return self.read_points(points).reshape(shape)[()]
        ranges, local = surround(items, self.shape)
        return self.read_box(ranges)[local]

    def __setitem__(self, key: object, value: ArrayLike) -> None:
        values = self.checked(value)
        items = expand(key, self.shape)
        if not any(isinstance(item, np.ndarray) for item in items):
            ranges, flips, keep = plan(items, self.shape)
            shape = tuple(len(ranges[axis]) for axis in keep)
            full = _broadcast(values, shape).reshape([len(r) for r in ranges])
            self.write_box(ranges, full[flips])
        elif not any(isinstance(item, slice) for item in items):
            points, shape = as_points(items, self.shape)
            self.write_points(points, _broadcast(values, shape).reshape(-1))
        else:
            ranges, local = surround(items, self.shape)
            block = self.read_box(ranges)
            block[local] = values
            self.write_box(ranges, block)

    def checked(self, value: ArrayLike) -> NDArray[Any]:
        """Return `value` in the array's type.

        Raises
        ------
        InputError
            If a value is negative, too large or not an integer.
        """
        values = np.asarray(value)
        if values.dtype.kind not in "iub":
            raise InputError("Not labels", expected="integers", got=str(values.dtype))
        limit = np.iinfo(self.dtype).max
        if values.size and values.dtype.kind != "b":
            low, high = int(values.min()), int(values.max())
            if low < 0 or high > limit:
                raise InputError(
                    "Label out of range",
                    expected=f"0 to {limit}",
                    got=str(low if low < 0 else high),
                )
        return values.astype(self.dtype, copy=False)


def _broadcast(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    while values.ndim > len(shape) and values.shape[0] == 1:
        values = values[0]
    return np.broadcast_to(values, shape)


def expand(key: object, shape: tuple[int, ...]) -> list[Any]:
    """Return one int, slice or integer array per axis.

    Raises
    ------
    IndexError
        If there are too many indices or one is of a kind that is not supported.
    """
    items: list[Any] = []
    for item in key if isinstance(key, tuple) else (key,):
        if isinstance(item, (bool, np.bool_)) or item is None:
            raise IndexError(f"index {item!r} is not supported")
        if isinstance(item, (list, np.ndarray)) or hasattr(item, "__array__"):
            array = np.asarray(item)
            if array.dtype == bool:
                items.extend(_mask_indices(array, items, shape))
            elif array.ndim == 0 and array.dtype.kind in "iu":
                items.append(int(array))
            elif array.dtype.kind in "iu" or array.size == 0:
                items.append(array.astype(np.intp))
            else:
                raise IndexError(f"index of type {array.dtype} is not supported")
        elif isinstance(item, slice) or item is Ellipsis:
            items.append(item)
        else:
            items.append(item.__index__())
    return _fill(items, len(shape))


def _mask_indices(
    mask: NDArray[Any], before: Sequence[Any], shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], ...]:
    if any(item is Ellipsis for item in before):
        raise IndexError("a mask after an ellipsis is not supported")
    wanted = shape[len(before) : len(before) + mask.ndim]
    if mask.ndim == 0 or mask.shape != wanted:
        raise IndexError(f"mask of shape {mask.shape} where {wanted} was expected")
    return tuple(np.asarray(index, np.intp) for index in np.nonzero(mask))


def _fill(items: list[Any], ndim: int) -> list[Any]:
    gaps = [position for position, item in enumerate(items) if item is Ellipsis]
    missing = ndim - (len(items) - len(gaps))
    if len(gaps) > 1 or missing < 0:
        raise IndexError(f"too many indices for an array of {ndim} dimensions")
    position = gaps[0] if gaps else len(items)
    return [*items[:position], *[slice(None)] * missing, *items[position + len(gaps) :]]


def plan(
    items: Sequence[Any], shape: tuple[int, ...]
) -> tuple[Ranges, tuple[slice, ...], list[int]]:
    """Return ascending ranges, the slices that undo reversed steps, and the axes to keep.

    Raises
    ------
    IndexError
        If an integer is out of bounds.
    """
    ranges: list[range] = []
    flips: list[slice] = []
    keep: list[int] = []
    for axis, (item, length) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, slice):
            selected = range(*item.indices(length))
            backwards = selected.step < 0
            ranges.append(selected[::-1] if backwards else selected)
            flips.append(slice(None, None, -1 if backwards else None))
            keep.append(axis)
        else:
            index = _within(item, length, axis)
            ranges.append(range(index, index + 1))
            flips.append(slice(None))
    return tuple(ranges), tuple(flips), keep


def _within(index: int, length: int, axis: int) -> int:
    if not -length <= index < length:
        raise IndexError(f"index {index} is out of bounds for axis {axis} with size {length}")
    return index % length


def _wrap(array: NDArray[np.intp], length: int, axis: int) -> NDArray[np.intp]:
    if array.size:
        _within(int(array.min()), length, axis)
        _within(int(array.max()), length, axis)
    return np.where(array < 0, array + length, array)


def as_points(items: Sequence[Any], shape: tuple[int, ...]) -> tuple[Points, tuple[int, ...]]:
    """Return flat points and the shape of the result for indices without slices.

    Raises
    ------
    IndexError
        If an index is out of bounds or the indices do not broadcast.
    """
    wrapped = [
        _wrap(np.asarray(item, np.intp), length, axis)
        for axis, (item, length) in enumerate(zip(items, shape, strict=True))
    ]
    try:
        arrays = np.broadcast_arrays(*wrapped)
    except ValueError as error:
        raise IndexError(str(error)) from error
    return tuple(np.ravel(array) for array in arrays), arrays[0].shape


def surround(items: Sequence[Any], shape: tuple[int, ...]) -> tuple[Ranges, tuple[Any, ...]]:
    """Return the smallest box around mixed indices and the same indices relative to it."""
    ranges: list[range] = []
    local: list[Any] = []
    for axis, (item, length) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, slice):
            selected = range(*item.indices(length))
            ascending = selected[::-1] if selected.step < 0 else selected
            ranges.append(ascending)
            local.append(slice(None, None, -1 if selected.step < 0 else None))
        elif isinstance(item, np.ndarray):
            wrapped = _wrap(item, length, axis)
            low = int(wrapped.min()) if wrapped.size else 0
            high = int(wrapped.max()) + 1 if wrapped.size else 0
            ranges.append(range(low, high))
            local.append(wrapped - low)
        else:
            index = _within(item, length, axis)
            ranges.append(range(index, index + 1))
            local.append(0)
    return tuple(ranges), tuple(local)
