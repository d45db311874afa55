"""Gather what the guide needs to know, without reading more pixels than necessary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.session import State
from napari_cas.ui import sources
from napari_cas.ui.guide import Facts

if TYPE_CHECKING:
    from napari_cas.protocol import Plane
    from napari_cas.session import Session
    from napari_cas.store import ImageEntry
    from napari_cas.ui.layers import LayerAdapter


class RegionCounter:
    """Counts painted regions on a plane up to two, and counts again only after a change."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Plane], tuple[int, bool]] = {}

    def forget(self) -> None:
        """Count again next time: something was painted or erased."""
        self._known.clear()

    def count(self, entry: ImageEntry, plane: Plane) -> int:
        """Return 0, 1 or 2 (two or more) regions.

        Parameters
        ----------
        entry : ImageEntry
            The image.
        plane : tuple of int
            Indices along its leading axes.
        """
        return self._look(entry, plane)[0]

    def filled(self, entry: ImageEntry, plane: Plane) -> bool:
        """Return whether one region takes all of a plane, as after a click with the fill bucket."""
        return self._look(entry, plane)[1]

    def _look(self, entry: ImageEntry, plane: Plane) -> tuple[int, bool]:
        key = entry.name, plane
        if key not in self._known:
            self._known[key] = _count(entry, plane)
        return self._known[key]


def _count(entry: ImageEntry, plane: Plane) -> tuple[int, bool]:
    found: set[int] = set()
    painted = 0
    for where, box in entry.regions.painted_chunks():
        if where == plane:
            pixels = np.asarray(entry.regions[(*plane, *box.slices)])
            ids = pixels[pixels > 0]
            if ids.size:
                found |= {int(ids.min()), int(ids.max())}  # any more make no difference
            if len(found) > 1:
                return 2, False
            painted += ids.size
    height, width = entry.plane_size
    return len(found), painted == height * width


def gather(
    session: Session, layers: LayerAdapter, counter: RegionCounter, *, adding: bool
) -> Facts:
    """Return what is on the screen now.

    Parameters
    ----------
    session, layers : Session, LayerAdapter
        What is asked.
    counter : RegionCounter
        Counts the painted regions.
    adding : bool
        Whether images are being copied into the project.
    """
    entry, chosen = session.image, layers.chosen()
    return Facts(
        image_layers=len(layers.image_layers()),
        chosen=len(chosen),
        readings=len(sources.readings(chosen[0])) if chosen else 0,
        project=session.project is not None,
        writable=session.writable,
        adding=adding,
        regions=0 if entry is None else counter.count(entry, layers.plane()),
        filled=entry is not None and counter.filled(entry, layers.plane()),
        trained=session.checkpoint is not None,
        busy=session.state is State.TRAINING,
        warming=session.state is State.WARMING,
        live=session.live,
        regions_layer=layers.regions is not None,
        prediction_layer=layers.prediction is not None,
        image_layer=entry is None or layers.sight.shows(entry.name),
        covered=entry is not None and layers.sight.is_covered(entry.name),
        buried=entry is not None and layers.sight.is_buried(entry.name, layers.regions),
        brush=layers.has_brush(),
        flat=layers.regions is None or layers.view() is not None,
        cut=entry is not None and layers.frame.cuts,
        last=entry is not None and entry.name == session.images[-1],
    )
