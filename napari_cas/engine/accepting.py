"""What the paint on a plane says of what was predicted there, tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_dilation

from napari_cas.engine.painting import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_cas.engine.painting import PaintedTile

_SURE = 0.9
_INEXACT = 0.02


def painted_in(tile: PaintedTile) -> NDArray[np.bool_]:
    """Return where (h, w) somebody painted."""
    return (tile.regions > 0) & (tile.regions < ACCEPTED)


def ids_of(tiles: Sequence[PaintedTile]) -> set[int]:
    """Return which ids are painted."""
    return {int(id_) for t in tiles for id_ in np.unique(t.regions[painted_in(t)])}


def told_in(tiles: Sequence[PaintedTile]) -> set[int]:
    """Return which ids are painted on the prediction."""
    found: set[int] = set()
    for tile in tiles:
        said = tile.source.corrected(tile.plane, tile.box)
        if said is not None:
            found.update(np.unique(tile.regions[(said > 0) & painted_in(tile)]).tolist())
    return found


def was_seen(tile: PaintedTile) -> bool:
    """Return whether the annotator can have seen a prediction there."""
    shown = tile.source.shown(tile.plane, tile.box)
    return shown is None or bool(shown.any())


def segments_in(tile: PaintedTile, label: NDArray[np.intp], fresh: set[int]) -> dict[int, int]:
    """Return which of some regions are segments of the prediction as a whole, with their labels.

    They were accepted with a click: nobody paints as exactly.
    """
    found = {}
    for id_ in sorted(ids_of([tile]) & fresh):
        own = tile.regions == id_
        around = label[binary_dilation(own) & ~own]
        most = int(np.bincount(label[own]).argmax())
        wrong = np.count_nonzero(label[own] != most), np.count_nonzero(around == most)
        if wrong[0] <= _INEXACT * own.sum() and wrong[1] <= _INEXACT * around.size:
            found[id_] = most
    return found


def accepted_in(
    tile: PaintedTile, soft: NDArray[np.float32], few: int, seed: int
) -> NDArray[np.int32]:
    """Return some of the unpainted pixels of which the network is sure, as `_Plane.points`."""
    label = soft.argmax(0)
    sure = (soft.max(0) > _SURE) & (tile.regions == 0)
    shown = tile.source.shown(tile.plane, tile.box)
    if shown is not None:
        sure &= shown == label + 1
    rng = np.random.default_rng([seed, *map(int, tile.box), *tile.plane])
    found = []
    for channel in np.unique(label[sure]):
        y, x = np.nonzero(sure & (label == channel))
        some = rng.permutation(len(y))[:few]
        y, x = y[some] + tile.box.y0, x[some] + tile.box.x0
        found.append(np.stack([y, x, np.full_like(y, channel), np.ones_like(y)], axis=1))
    return np.concatenate(found).astype(np.int32) if found else np.zeros((0, 4), np.int32)
