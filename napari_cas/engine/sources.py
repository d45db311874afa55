"""Where pixels and regions come from: arrays in memory or the images of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from napari_cas.engine.preprocess import NEUTRAL, Scaling, no_data
from napari_cas.protocol import Box, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_cas.store import ImageEntry

Array: TypeAlias = "NDArray[np.float32]"


class Image(Protocol):
    """Planes of (C, Y, X) pixels."""

    @property
    def name(self) -> str:
        """Name, unique among the sources of one fit: seeds and caches depend on it."""

    @property
    def channels(self) -> int:
        """Number of channels C."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a plane in pixels."""

    @property
    def depth(self) -> int:
        """Number of planes along the last of the leading axes; 1 without any."""

    def read(self, plane: Plane, box: Box) -> Array:
        """Return (C, h, w) float32 on the 0–255 scale."""

    def no_data(self, plane: Plane, box: Box) -> NDArray[np.bool_] | None:
        """Return where (h, w) there are no data (NaN in all channels); None if nowhere."""


class Source(Image, Protocol):
    """An image of which something may be painted."""

    @property
    def title(self) -> str:
        """What sentences for people call it; nothing that is learnt depends on it."""

    def painted(self) -> Iterator[tuple[Plane, Box]]:
        """Yield boxes outside of which nothing is painted."""

    def regions(self, plane: Plane, box: Box) -> NDArray[np.int64]:
        """Return region ids (h, w), 0 where unpainted and where there are no data."""

    def off_data(self, plane: Plane, box: Box) -> NDArray[np.int64]:
        """Return the ids (N,) that are painted where there are no data."""

    def shown(self, plane: Plane, box: Box) -> NDArray[np.uint8] | None:
        """Return the labels (h, w) that were predicted and could be seen; None if not known."""

    def corrected(self, plane: Plane, box: Box) -> NDArray[np.uint8] | None:
        """Return the labels (h, w) painted on the prediction, 0 where none; None if nowhere."""


def neighbours(source: Image, plane: Plane, reach: int) -> list[Plane]:
    """Return the planes up to `reach` before and after a plane along the last leading axis."""
    if not plane or not reach:
        return []
    here = plane[-1]
    around = range(max(0, here - reach), min(source.depth, here + reach + 1))
    return [(*plane[:-1], i) for i in around if i != here]


def read_stacked(source: Image, plane: Plane, box: Box, reach: int) -> Array:
    """Return a plane between its neighbours as one image.

    Parameters
    ----------
    source : Image
        Where pixels come from.
    plane, box
        What to read.
    reach : int
        Neighbouring planes on each side; beyond the ends the outermost plane is repeated.

    Returns
    -------
    ndarray
        ((2 reach + 1) C, h, w) float32 on the 0–255 scale, from the first plane to the last.
    """
    own = source.read(plane, box)
    if not reach:
        return own
    others = {p[-1]: source.read(p, box) for p in neighbours(source, plane, reach)}
    here = plane[-1] if plane else 0
    found = {here: own} | others
    around = range(here - reach, here + reach + 1)
    return np.concatenate([found[min(max(i, min(found)), max(found))] for i in around])


class ArraySource:
    """An image in memory, already checked.

    Parameters
    ----------
    name : str
        Any name: what is random about the image depends on it.
    image : ndarray
        (C, Y, X), any real dtype; NaN where there are no data.
    regions : ndarray, optional
        (Y, X) of integers, 0 where unpainted.
    title : str, optional
        What sentences call it; by default its name.
    corrections : ndarray, optional
        (Y, X) uint8: labels painted on the prediction, 0 where none.
    """

    def __init__(
        self,
        name: str,
        image: NDArray[np.generic],
        regions: NDArray[np.generic] | None = None,
        title: str | None = None,
        corrections: NDArray[np.uint8] | None = None,
    ) -> None:
        self.name = name
        self.title = name if title is None else title
        self._image = image
        self._regions = regions
        self._corrections = corrections
        self.channels = image.shape[0]
        self.depth = 1
        self.size = (image.shape[1], image.shape[2])
        self.scaling = Scaling.of_image(image)

    def read(self, plane: Plane, box: Box) -> Array:  # noqa: ARG002  # only plane () exists
        """Return (C, h, w) float32 on the 0–255 scale."""
        rows, columns = box.slices
        return self.scaling.apply(self._image[:, rows, columns])

    def no_data(self, plane: Plane, box: Box) -> NDArray[np.bool_] | None:  # noqa: ARG002
        """Return where (h, w) there are no data; None if nowhere."""
        rows, columns = box.slices
        return no_data(self._image[:, rows, columns])

    def painted(self) -> Iterator[tuple[Plane, Box]]:
        """Yield the bounding box of what is painted."""
        if self._regions is None:
            return
        rows, columns = np.nonzero(self._regions.any(1))[0], np.nonzero(self._regions.any(0))[0]
        if len(rows):
            yield (), Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)

    def regions(self, plane: Plane, box: Box) -> NDArray[np.int64]:
        """Return region ids (h, w), 0 where unpainted and where there are no data."""
        if self._regions is None:
            return np.zeros(box.shape, np.int64)
        return _on_data(self._regions[box.slices].astype(np.int64), self.no_data(plane, box))

    def off_data(self, plane: Plane, box: Box) -> NDArray[np.int64]:
        """Return the ids (N,) that are painted where there are no data."""
        gaps = self.no_data(plane, box)
        if gaps is None or self._regions is None:
            return np.zeros(0, np.int64)
        return _ids(self._regions[box.slices][gaps])

    def shown(self, plane: Plane, box: Box) -> NDArray[np.uint8] | None:  # noqa: ARG002
        """Return None: what was shown is not known."""
        return None

    def corrected(self, plane: Plane, box: Box) -> NDArray[np.uint8] | None:  # noqa: ARG002
        """Return the labels (h, w) painted on the prediction, 0 where none; None if nowhere."""
        return None if self._corrections is None else self._corrections[box.slices]


class EntrySource:
    """An image of a project on disk."""

    def __init__(self, entry: ImageEntry) -> None:
        self._entry = entry
        self.name = self.title = entry.name
        self.channels = entry.n_channels
        self.depth = entry.planes_shape[-1] if entry.planes_shape else 1
        self.size = entry.plane_size
        # Of images that were copied, every pixel was looked at.
        may_miss = entry.dtype.kind == "f" or entry.intensity.no_data is not None
        self._complete = not (may_miss and (entry.refers or entry.intensity.missing))
        self.scaling = Scaling.of_range(entry.intensity.low, entry.intensity.high, entry.dtype)

    def read(self, plane: Plane, box: Box) -> Array:
        """Return (C, h, w) float32 on the 0–255 scale."""
        pixels = self._entry.read(plane, box)
        scaled = self.scaling.apply(pixels)
        if pixels.dtype.kind != "f" and (gaps := self._gaps(pixels)) is not None:
            scaled[:, gaps] = NEUTRAL
        return scaled

    def no_data(self, plane: Plane, box: Box) -> NDArray[np.bool_] | None:
        """Return where (h, w) there are no data; None if nowhere."""
        return None if self._complete else self._gaps(self._entry.read(plane, box))

    def _gaps(self, pixels: NDArray[np.generic]) -> NDArray[np.bool_] | None:
        return None if self._complete else no_data(pixels, self._entry.intensity.no_data)

    def painted(self) -> Iterator[tuple[Plane, Box]]:
        """Yield the chunks that exist on disk."""
        yield from self._entry.regions.painted_chunks()

    def regions(self, plane: Plane, box: Box) -> NDArray[np.int64]:
        """Return region ids (h, w), 0 where unpainted and where there are no data."""
        painted = self._painting(plane, box)
        return _on_data(painted, self.no_data(plane, box) if painted.any() else None)

    def off_data(self, plane: Plane, box: Box) -> NDArray[np.int64]:
        """Return the ids (N,) that are painted where there are no data."""
        gaps = self.no_data(plane, box)
        return np.zeros(0, np.int64) if gaps is None else _ids(self._painting(plane, box)[gaps])

    def shown(self, plane: Plane, box: Box) -> NDArray[np.uint8] | None:
        """Return the labels (h, w) that were predicted and could be seen."""
        return np.asarray(self._entry.prediction[(*plane, *box.slices)])

    def corrected(self, plane: Plane, box: Box) -> NDArray[np.uint8] | None:
        """Return the labels (h, w) painted on the prediction, 0 where none; None if nowhere."""
        raw = np.asarray(self._entry.corrections[(*plane, *box.slices)])
        return np.where(raw > 0, raw - np.uint8(1), raw) if raw.any() else None

    def _painting(self, plane: Plane, box: Box) -> NDArray[np.int64]:
        return np.asarray(self._entry.regions[(*plane, *box.slices)]).astype(np.int64)


def _on_data(painted: NDArray[np.int64], gaps: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Return what is painted (h, w), 0 where there are no data."""
    return painted if gaps is None else np.where(gaps, 0, painted)


def _ids(painted: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return which ids (N,) are painted anywhere."""
    found = np.unique(painted).astype(np.int64)
    return found[found > 0]
