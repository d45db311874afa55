"""What this package asks of an array it only reads."""

from __future__ import annotations

from typing import Any, Protocol


class ArrayLike(Protocol):
    """Anything with a shape, a type and slicing: NumPy, Dask, Zarr."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length per axis."""

    @property
    def dtype(self) -> Any:  # noqa: ANN401 - every library has its own
        """Type of the elements."""

    def __getitem__(self, key: Any, /) -> Any:  # noqa: ANN401
        """Return a part, as something that NumPy can convert."""
