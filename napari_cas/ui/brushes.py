"""Which region the brush holds on each plane, so that a stroke joins none by accident."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cas.protocol import Plane
    from napari_cas.store import ImageEntry


class Brushes:
    """Remembers the region last chosen on each plane of each image, while a project is open."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, Plane], int] = {}

    def forget(self) -> None:
        """Begin anew, with another project."""
        self._held.clear()

    def hold(self, entry: ImageEntry | None, plane: Plane, layer: Labels | None) -> None:
        """Remember what a layer's brush holds; label 0, the eraser, is no choice.

        Parameters
        ----------
        entry, plane : ImageEntry or None, tuple of int
            Where.
        layer : Labels or None
            Shows the regions.
        """
        if entry is not None and layer is not None and layer.selected_label > 0:
            self._held[entry.name, plane] = int(layer.selected_label)

    def recall(self, entry: ImageEntry, plane: Plane) -> int:
        """Return the region last chosen on a plane, else one that nothing is painted as: 1 if bare.

        Parameters
        ----------
        entry, plane : ImageEntry, tuple of int
            Where.
        """
        return self._held.get((entry.name, plane)) or int(entry.regions.new_id(plane))
