"""How far the images of a project are, from the names of files alone: no pixel is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_cas.errors import ProjectFormatError
from napari_cas.store.chunks import ChunkFiles

if TYPE_CHECKING:
    from pathlib import Path


class Stage(NamedTuple):
    """What there is of an image, at least in part."""

    painted: bool
    predicted: bool


def stage_of(folder: Path) -> Stage:
    """Return how far an image is.

    Parameters
    ----------
    folder : Path
        Of the image inside the project. What is missing or damaged counts as not there; opening
        the image says what is wrong.
    """
    labels = folder / "labels"
    return Stage(_holds(labels / "regions" / "0"), _holds(labels / "prediction" / "0"))


def _holds(array: Path) -> bool:
    try:
        return next(ChunkFiles.open(array).keys(), None) is not None
    except (ProjectFormatError, OSError):
        return False
