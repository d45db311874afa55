"""Whether a prediction that was made anew shows anything new.

Once the paint is learnt, rounds mostly repeat themselves, and redrawing a canvas for the same
labels is what napari's thread spends most of a round on.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from napari_cas.protocol import Box

if TYPE_CHECKING:
    from napari_cas.protocol import Plane, Tile
    from napari_cas.store import ImageEntry


class News:
    """Remembers the tile drawn last; any other is new, since it may have changed part of it."""

    def __init__(self) -> None:
        self._drawn: tuple[Plane, Box, bytes] | None = None

    def forget(self) -> None:
        """Take everything for new: something else is shown."""
        self._drawn = None

    def found(self, entry: ImageEntry, tile: Tile, shown: Box) -> bool:
        """Tell whether a tile differs from when this was last asked.

        Parameters
        ----------
        entry : ImageEntry
            The image shown.
        tile : Tile
            What was predicted anew, on the plane shown.
        shown : Box
            What the layer holds of the plane.
        """
        box = Box(
            max(tile.box.y0, shown.y0),
            max(tile.box.x0, shown.x0),
            min(tile.box.y1, shown.y1),
            min(tile.box.x1, shown.x1),
        )
        labels = np.asarray(entry.prediction[(*tile.plane, *box.slices)])
        digest = hashlib.blake2b(labels.tobytes(), digest_size=16).digest()
        before, self._drawn = self._drawn, (tile.plane, box, digest)
        return before != self._drawn
