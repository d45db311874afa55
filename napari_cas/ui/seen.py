"""Which views show what the present model predicts, and which have to be predicted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.protocol import Tile
from napari_cas.session import extent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cas.protocol import Box, Plane, RoundReport
    from napari_cas.session import Session
    from napari_cas.store import ImageEntry


class Seen:
    """Remembers for each plane the model that predicted it last.

    Parameters
    ----------
    session : Session
        Knows the model and the image.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._models: dict[tuple[str, Plane], str | None] = {}

    def forget(self) -> None:
        """Start over: another project, or another model."""
        self._models.clear()

    def reported(self, report: RoundReport) -> None:
        """Note what a round has predicted."""
        for tile in report.changed:
            self._models[tile.image, tile.plane] = report.checkpoint

    def is_outdated(self, plane: Plane, box: Box) -> bool:
        """Whether the present model has not predicted this view, judged by a grid of pixels.

        Parameters
        ----------
        plane : tuple of int
            Indices along the leading axes of the image shown.
        box : Box
            Pixels of the plane.
        """
        session = self._session
        entry, checkpoint = session.image, session.checkpoint
        if entry is None or checkpoint is None or not session.writable:
            return False
        view = box.clip(*entry.plane_size)
        if 0 in view.shape:
            return False
        # In an overview of a huge plane only its middle is predicted unasked.
        view = extent.unasked(entry, Tile(entry.name, plane, view)).part or view
        key = entry.name, plane
        before, self._models[key] = self._models.get(key, checkpoint), checkpoint
        step = max(1, max(view.shape) // 16)
        grid = np.asarray(
            entry.prediction[(*plane, slice(view.y0, view.y1, step), slice(view.x0, view.x1, step))]
        )
        # Where empty tiles are left out, holes are what was asked for.
        known = bool(grid.any() if session.config.predict.skip_below else grid.all())
        if before == checkpoint and not known:
            # Where the image has no data, there is no label, whatever was predicted.
            holes = np.argwhere(grid == 0) * step + (view.y0, view.x0)
            known = self._are_predicted(entry, plane, holes)
        return before != checkpoint or not known

    def _are_predicted(self, entry: ImageEntry, plane: Plane, pixels: NDArray[np.intp]) -> bool:
        """Whether each pixel lies on a tile that is noted as predicted by the present model."""
        made = self._session.config.predict.note
        tiles = entry.predicted_with(self._session.checkpoint or "", settings=made)
        boxes = np.array([box for of, box in tiles if of == plane]).reshape(-1, 4)
        low, high = boxes[:, None, :2], boxes[:, None, 2:]
        return bool(((low <= pixels) & (pixels < high)).all(-1).any(0).all())
