"""Where to paint next: over all images, the places where the network hesitates most."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_cas.errors import CheckpointError
from napari_cas.protocol import Box

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_cas.protocol import Plane
    from napari_cas.store import ImageEntry, Project

_APART = 32
"""Places are so many pixels apart, or more."""

_LEAST = 0.02
"""Below, the network hesitates nowhere worth a stroke."""

_AROUND = 16
"""Paint within so many pixels means that the annotator has been here."""


class Place(NamedTuple):
    """A place that nobody painted.

    Attributes
    ----------
    image : str
        Name of the image.
    plane : tuple of int
        Indices along its leading axes.
    y, x : int
        A pixel of the plane.
    value : float
        How much the network hesitates there, 0 to 1.
    """

    image: str
    plane: Plane
    y: int
    x: int
    value: float


class Doubtful:
    """Goes through the doubtful places of a project, the most doubtful first."""

    def __init__(self) -> None:
        self._shown: set[Place] = set()

    def next(self, project: Project) -> Place:
        """Return the most doubtful place that was not returned before; then begin again.

        Raises
        ------
        CheckpointError
            Nothing is predicted, or paint is at every place.
        """
        places = sorted(_places(project), key=lambda place: -place.value)
        for place in _apart(places):
            if place not in self._shown and _is_bare(project.image(place.image), place):
                self._shown.add(place)
                return place
        if self._shown:  # what is left was shown, or is painted
            self._shown.clear()
            return self.next(project)
        raise nothing_doubtful()


def nothing_doubtful() -> CheckpointError:
    """Return the error of asking where the network hesitates while it does nowhere."""
    return CheckpointError(
        "There is no place yet where the network hesitates",
        todo="Fine-tune, and press Predict all to have every image looked at.",
    )


def _apart(places: Iterable[Place]) -> Iterator[Place]:
    """Yield places that are not beside earlier ones: tiles and views overlap."""
    taken: set[tuple[str, Plane, int, int]] = set()
    for place in places:
        row, column = place.y // _APART, place.x // _APART
        if (place.image, place.plane, row, column) not in taken:
            yield place
            around = product((row - 1, row, row + 1), (column - 1, column, column + 1))
            taken |= {(place.image, place.plane, *cell) for cell in around}


def _places(project: Project) -> Iterator[Place]:
    for name in project.images:
        entry = project.image(name)
        sizes = *entry.planes_shape, *entry.plane_size
        for plane, (value, y, x) in entry.predicted.doubts():
            if value >= _LEAST and _exists((*plane, y, x), sizes):
                yield Place(name, plane, y, x, value)


def _exists(at: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    """Whether there is such a pixel: what is read may be damaged."""
    return len(at) == len(sizes) and all(0 <= i < n for i, n in zip(at, sizes, strict=True))


def _is_bare(entry: ImageEntry, place: Place) -> bool:
    """Whether nothing was painted there since."""
    around = Box(place.y - _AROUND, place.x - _AROUND, place.y + _AROUND, place.x + _AROUND)
    box = around.clip(*entry.plane_size)
    return not np.asarray(entry.regions[(*place.plane, *box.slices)]).any()
