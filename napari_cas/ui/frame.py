"""How much of a plane the Labels layers hold: all of it, or a window of a huge one.

napari keeps a layer without resolution levels as one texture of the whole plane, and OpenGL refuses
textures beyond 8192 to 16,384 pixels a side; 30,000 × 30,000 labels would take 3.6 GB besides.
Labels with resolution levels cannot be painted. So the layers of a huge plane hold a window of its
full resolution around what is looked at, and follow the camera.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cas.protocol import Box
from napari_cas.store.views import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels

    from napari_cas.store.labels import LabelArray
    from napari_cas.store.views import PredictionView

    AnyLabels = LabelArray | PredictionView

LIMIT = 8192
"""Longest side in pixels of a plane that is held as a whole."""
LARGEST = 4096
"""Longest side of a window: 64 MB of labels, moved in a third of a second."""
SMALLEST = 1536
"""Shortest side, so that looking at a detail does not make the window follow every move."""
OVERVIEW = 2 * LARGEST
"""From this side on, a view is no place to paint, and no window is moved for it."""
GRID = 256
"""Windows begin and end on chunks."""


class Frame:
    """The part of an image's planes that its Labels layers hold.

    Parameters
    ----------
    size : (int, int)
        Height and width of the planes.
    scale : sequence of float
        Pixel size along the label axes.
    start : sequence of float, optional
        Place of the planes' first pixel in the world; by default the origin.

    Attributes
    ----------
    whole : bool
        Whether it is all of the plane.
    box : Box
        What it is of the plane.
    cuts : bool
        Whether more of the plane is looked at than it holds.
    """

    def __init__(
        self, size: tuple[int, int], scale: Sequence[float], start: Sequence[float] = ()
    ) -> None:
        self.size, self.scale = size, tuple(scale)
        self.start = tuple(start) or (0.0,) * len(self.scale)
        self.whole = max(size) <= LIMIT
        everything = Box(0, 0, *size)
        self.box = everything if self.whole else around(everything, size)
        self.cuts = not self.whole

    def data(self, array: AnyLabels) -> AnyLabels | Window:
        """Return what a layer of this frame holds of an array."""
        return array if self.whole else Window(array, self.box)

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the layers' first pixel."""
        return self.box.y0, self.box.x0

    @property
    def translate(self) -> tuple[float, ...]:
        """Place of the layers in the world."""
        leading = len(self.scale) - 2
        shift = (*(0 for _ in range(leading)), *self.origin)
        parts = zip(self.start, shift, self.scale, strict=True)
        return tuple(start + at * size for start, at, size in parts)

    def hold(self, layer: Labels | None, array: AnyLabels) -> None:
        """Give a layer, in which nobody is painting, this window instead of its present one."""
        if layer is not None:
            _move(layer, self.data(array), self.translate)

    def follow(self, view: Box) -> bool:
        """Move to what is looked at, unless it is in the frame; return whether it moved."""
        seen = view.clip(*self.size)
        if self.whole or 0 in seen.shape:
            return False
        before = self.box
        if not serves(before, seen):
            self.box = around(seen, self.size)
        self.cuts = not self.box.contains(seen)
        return self.box != before

    def outline(self, layer: Labels | None) -> None:
        """Draw the frame's edge where the annotator sees beyond it: strokes end there."""
        if layer is not None and not self.whole:
            layer.bounding_box.visible = self.cuts


def around(view: Box, size: tuple[int, int]) -> Box:
    """Return the window around a view: half as long again, within bounds, on the chunks' grid.

    Of an overview, a small window in the middle, which takes no time.
    """
    overview = max(view.shape) > OVERVIEW
    spans = []
    for low, high, length in zip((view.y0, view.x0), (view.y1, view.x1), size, strict=True):
        wanted = SMALLEST if overview else max(3 * (high - low) // 2, SMALLEST)
        side = min(wanted, LARGEST, length)
        start = min(max((low + high - side) // 2, 0), length - side)
        stop = min(-(-(start + side) // GRID) * GRID, length)
        spans.append((start // GRID * GRID, stop))
    (y0, y1), (x0, x1) = spans
    return Box(y0, x0, y1, x1)


def serves(window: Box, view: Box) -> bool:
    """Whether a window need not move: the view is inside, or too large and about its middle."""
    if max(view.shape) > OVERVIEW:
        return True
    return _serves(window.y0, window.y1, view.y0, view.y1) and _serves(
        window.x0, window.x1, view.x0, view.x1
    )


def _serves(w0: int, w1: int, v0: int, v1: int) -> bool:
    if w0 <= v0 and v1 <= w1:
        return True
    # A window of the largest side is as good as any while it is about the middle of the view.
    largest = w1 - w0 >= LARGEST
    return largest and v1 - v0 > LARGEST // 2 and abs((v0 + v1) - (w0 + w1)) <= LARGEST // 2


def _move(layer: Labels, data: Any, translate: Sequence[float]) -> None:
    editable, mode = layer.editable, str(layer.mode)
    # This also forgets what can be undone: its coordinates are those of the old window.
    layer.editable = False
    layer.data = data
    layer.translate = translate
    layer.editable = editable
    layer.mode = mode
