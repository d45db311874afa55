"""Where the annotator is: the plane and box shown, what is under the cursor, what would paint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image

from napari_cas.ui import where
from napari_cas.ui.frame import Frame
from napari_cas.ui.looks import brush_colour

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

    from napari_cas.protocol import Box, Plane

_PAINTLESS = ("pan_zoom", "transform", "pick")


class Viewpoint:
    """What can be asked of the layers shown; nothing here changes any.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer, or the proxy of it that napari gives to plugins.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        # napari hands plugins a proxy whose layers are proxies too: no two of them are identical.
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self.frame = Frame((0, 0), (1, 1))
        self.regions: Labels | None = None
        self.prediction: Labels | None = None
        self._results: list[Layer] = []

    def image_layers(self) -> list[Image]:
        """Return all image layers that are not results of ours."""
        images = (layer for layer in self._viewer.layers if isinstance(layer, Image))
        return [layer for layer in images if not any(layer is ours for ours in self._results)]

    def chosen(self) -> list[Image]:
        """Return the selected image layers in the list's order; the only one counts as selected."""
        images = self.image_layers()
        selected = [layer for layer in images if layer in self._viewer.layers.selection]
        return selected or (images if len(images) == 1 else [])

    def plane(self) -> Plane:
        """Return the indices along the leading axes of the plane shown."""
        layer = self.regions or self.prediction
        return () if layer is None else where.plane_of(layer, self._viewer.dims.point)

    def view(self) -> tuple[Plane, Box] | None:
        """Return the plane and the box of pixels that are on the screen, or None."""
        layer = self.regions or self.prediction
        return None if layer is None else where.view_of(layer, self._viewer, self.frame)

    def go_to(self, plane: Plane, at: tuple[int, int]) -> None:
        """Show a pixel, given by row and column on a plane, in the middle of the canvas."""
        where.go_to(self._viewer, self.frame, plane, at)

    def under_cursor(self) -> tuple[int, tuple[int, int]] | None:
        """Return the predicted label under the cursor and its (row, column), or None."""
        layer, at = self.prediction, self._viewer.cursor.position
        if layer is None:
            return None
        return where.label_at(layer, self.plane(), at, self.frame.origin)

    def predicted_label(self) -> int:
        """Return the label picked in the prediction layer, 0 unless that layer is selected."""
        layer, active = self.prediction, self._viewer.layers.selection.active
        return 0 if layer is None or layer is not active else int(layer.selected_label)

    def choose_label(self, label: int) -> None:
        """Give the brush a label of the prediction, to correct that."""
        layer = self.prediction
        if layer is None:
            return
        self._viewer.layers.selection.active = layer
        layer.selected_label = label
        layer.visible = True  # napari takes the brush away from a hidden layer
        if self.regions is not None:
            layer.brush_size = self.regions.brush_size
        if str(layer.mode) not in ("paint", "polygon", "fill"):
            layer.mode = "paint"

    def has_brush(self) -> bool:
        """Return whether dragging the mouse over the canvas would paint."""
        active = self._viewer.layers.selection.active
        ours = active is not None and active in (self.regions, self.prediction)
        # A hidden layer may keep its brush, as when an image is changed, and paints out of sight.
        return ours and active.visible and str(active.mode) not in _PAINTLESS

    def region_colour(self) -> tuple[float, float, float, float] | None:
        """Return the colour that the brush paints in, or None."""
        return None if self.regions is None else brush_colour(self.regions)

    def _below_regions(self) -> int:
        """Return where in the list a layer goes to lie under the strokes."""
        layers = self._viewer.layers
        return layers.index(self.regions) if self.regions in layers else len(layers)
