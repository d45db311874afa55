"""Whether a prediction that was made anew shows anything new.

Once the paint is learnt, rounds mostly repeat themselves, and redrawing a canvas for the same
labels is what napari's thread spends most of a round on.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_cas.protocol import Box, Plane, Tile
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
        box = tile.box.intersection(shown)
        labels = np.asarray(entry.prediction[(*tile.plane, *box.slices)])
        digest = hashlib.blake2b(labels.tobytes(), digest_size=16).digest()
        before, self._drawn = self._drawn, (tile.plane, box, digest)
        return before != self._drawn
