"""Whether there is anything to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import RegionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cas.protocol import Plane
    from napari_cas.store import ImageEntry, Project


def trainable(project: Project) -> bool:
    """Return whether some plane has at least two regions."""
    try:
        check(project)
    except RegionError:
        return False
    return True


def check(project: Project) -> None:
    """Make sure that there is something to tell apart.

    Reads painted chunks only, and stops at the first plane with two regions.

    Raises
    ------
    RegionError
        Nothing is painted, or no plane has more than one region.
    """
    most = 0
    for name in project.images:
        for ids in regions_by_plane(project.image(name)):
            most = max(most, ids)
            if most > 1:
                return
    if most == 0:
        raise RegionError(
            "Nothing is painted yet",
            todo="Paint over two areas that look different, each as a region of its own.",
        )
    raise RegionError(
        "Only one region is painted, and telling apart takes two",
        todo="Start a new region and paint over an area on the same plane that looks different.",
    )


def regions_by_plane(entry: ImageEntry) -> Iterator[int]:
    """Yield, as chunks are read, how many regions each plane has so far."""
    found: dict[Plane, set[int]] = {}
    for plane, box in entry.regions.painted_chunks():
        ids = found.setdefault(plane, set())
        ids.update(np.unique(np.asarray(entry.regions[(*plane, *box.slices)])).tolist())
        ids.discard(0)
        yield len(ids)
