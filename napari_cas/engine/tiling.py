"""How planes are cut into tiles: the same grid for training, caching and predicting."""

from __future__ import annotations

import math
from itertools import pairwise

from napari_cas.models.pyramid import Window
from napari_cas.protocol import Box

_ALIGN = 64
STRETCH = 1.5


def tile_edges(length: int, tile: int, stretch: float = STRETCH) -> list[int]:
    """Cut a length into pieces of about `tile`, at multiples of 64.

    Whatever is up to `stretch` tiles long stays whole: halos then cost more than the memory saved.
    """
    pieces = 1 if length <= stretch * tile else math.ceil(length / tile)
    edge = math.ceil(length / pieces / _ALIGN) * _ALIGN
    return [*range(0, length, edge), length]


def grid(size: tuple[int, int], tile: int, stretch: float = STRETCH) -> list[Box]:
    """Return the tiles of a plane of `size`, row by row."""
    rows, columns = (tile_edges(length, tile, stretch) for length in size)
    return [Box(y0, x0, y1, x1) for y0, y1 in pairwise(rows) for x0, x1 in pairwise(columns)]


def overlapping(tiles: list[Box], box: Box) -> list[Box]:
    """Return the tiles that share pixels with `box`."""
    return [t for t in tiles if t.touches(box)]


def with_halo(box: Box, halo: int, size: tuple[int, int]) -> Box:
    """Return `box` with context around it, as far as the plane reaches."""
    return Box(box.y0 - halo, box.x0 - halo, box.y1 + halo, box.x1 + halo).clip(*size)


def window(inner: Box, outer: Box, stride: int) -> Window:
    """Return `inner` relative to `outer`, grown to multiples of `stride`."""
    return Window(
        (inner.y0 - outer.y0) // stride * stride,
        (inner.x0 - outer.x0) // stride * stride,
        -(-(inner.y1 - outer.y0) // stride) * stride,
        -(-(inner.x1 - outer.x0) // stride) * stride,
    )
