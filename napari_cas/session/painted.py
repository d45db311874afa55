"""Whether there is anything to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import CASError, RegionError
from napari_cas.store.sampling import with_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cas.protocol import Plane
    from napari_cas.store import ImageEntry, Project


def trainable(project: Project, *, learnt: bool = False) -> bool:
    """Return whether there is something to tell apart; see :func:`check`."""
    try:
        check(project, learnt=learnt)
    except RegionError:
        return False
    return True


def check(project: Project, *, learnt: bool = False) -> None:
    """Make sure that there is something to tell apart.

    Reads painted chunks only, and as a rule stops at the first plane with two regions.

    Parameters
    ----------
    project : Project
        What is painted.
    learnt : bool
        Whether there is a model: then one region may do, as a correction of what it said.

    Raises
    ------
    RegionError
        Nothing is painted, no plane has more than one region, or where some has, the image is of
        one value.
    """
    most, constant, fewest = 0, "", 1 if learnt else 2
    for name in project.images:
        entry = project.image(name)
        most_here = 0
        for most_here in regions_by_plane(entry):
            if most_here >= fewest:
                break
        most = max(most, most_here)
        if most_here >= fewest and not is_constant(entry):
            return
        constant = name if most_here >= fewest else constant
    if constant:
        raise RegionError(
            f"Image {constant!r} is constant where it is painted: nothing there can be told apart",
            todo="Paint on an image that shows something.",
        )
    if most == 0:
        raise RegionError(
            "Nothing is painted yet",
            todo="Paint over two areas that look different, each as a region of its own.",
        )
    raise RegionError(
        "Only one region is painted, and telling apart takes two",
        todo="Start a new region and paint over an area on the same plane that looks different.",
    )


def is_constant(entry: ImageEntry) -> bool:
    """Return whether each channel has one value in all chunks that are painted, beside no data.

    Pixels are looked at only if the range of the image's values is as narrow as that of a constant.
    """
    ends = zip(entry.intensity.low, entry.intensity.high, strict=True)
    if any(high > max(low + 1.0, float(np.nextafter(low, np.inf))) for low, high in ends):
        return False
    least, most = np.inf, -np.inf
    for plane, box in entry.regions.painted_chunks():
        try:
            pixels = entry.read(plane, box)
        except CASError:
            return False  # the worker says what is wrong with it
        known = with_data(pixels, 0, entry.intensity.no_data).reshape(len(pixels), -1).astype(float)
        least = np.fmin(least, np.fmin.reduce(known, axis=1, initial=np.inf))
        most = np.fmax(most, np.fmax.reduce(known, axis=1, initial=-np.inf))
        if np.any(least < most):
            return False
    return True


def regions_by_plane(entry: ImageEntry) -> Iterator[int]:
    """Yield, as chunks are read, how many regions each plane has so far."""
    found: dict[Plane, set[int]] = {}
    for plane, box in entry.regions.painted_chunks():
        ids = found.setdefault(plane, set())
        ids.update(np.unique(np.asarray(entry.regions[(*plane, *box.slices)])).tolist())
        ids.discard(0)
        yield len(ids)
