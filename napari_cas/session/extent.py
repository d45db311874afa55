"""How much of a plane is predicted without being asked for: all of it, or what is looked at.

A plane of 30,000 × 30,000 pixels takes the worker an hour; nobody asked for that by training. There
the part on the screen is predicted, and the next one when the annotator goes there. *Predict all*
does the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cas.jobs import PlaneWork
from napari_cas.protocol import Box
from napari_cas.session.projects import limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cas.protocol import Plane, Tile, TilesRequest
    from napari_cas.store import ImageEntry, Project

WHOLE_LIMIT = 8192
"""Longest side in pixels of a plane that is completed by itself."""
SEEN_LIMIT = 4096
"""Longest side of what is predicted of a larger one at a time: more is an overview."""


def is_huge(entry: ImageEntry) -> bool:
    """Whether an image's planes are too large to be predicted whole without being asked for."""
    return max(entry.plane_size) > WHOLE_LIMIT


def unasked(entry: ImageEntry, seen: Tile) -> PlaneWork:
    """Return what is to be predicted of the plane looked at.

    Parameters
    ----------
    entry : ImageEntry
        The image.
    seen : Tile
        What is on the screen, all of it.
    """
    part = limit(seen.box, SEEN_LIMIT) if is_huge(entry) else None
    return PlaneWork(entry.name, seen.plane, entry.plane_size, part)


def is_done(work: PlaneWork, view: Tile) -> bool:
    """Whether a round's prediction of the view is all of this work."""
    return view.box.contains(work.part or Box(0, 0, *work.size))


def predicted_before(project: Project, request: TilesRequest) -> Callable[[Tile], bool]:
    """Return what says of a tile whether it is there as it is asked for; one look per image.

    Parameters
    ----------
    project : Project
        Where predictions are kept.
    request : TilesRequest
        Which model, how, and whether a tile counts only with its probabilities; its tiles are
        ignored.
    """
    known: dict[str, set[tuple[Plane, Box]]] = {}

    def done(tile: Tile) -> bool:
        if tile.image not in known:
            entry = project.image(tile.image)
            known[tile.image] = entry.predicted_with(
                request.checkpoint,
                probabilities=request.probabilities,
                settings=request.config.predict.note,
            )
        return (tile.plane, tile.box) in known[tile.image]

    return done
