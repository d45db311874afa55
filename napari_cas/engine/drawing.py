"""Pixels of painted tiles with their features, kept between rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from napari_cas.engine import places
from napari_cas.engine.features import FeatureCache, feature_box, tile_features
from napari_cas.engine.variations import varied_features
from napari_cas.models.pyramid import gather, indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_cas.engine.painting import PaintedTile
    from napari_cas.models.quick import QuickModel

_POOL = 65_536
PER_REGION = (32, 1024)
"""Pixels that a region gives per tile, at least if it has them, and at most."""
_PROBES = 2048


@dataclass(frozen=True)
class TileSample:
    """Pixels drawn from one tile, independent of all other tiles; `at` is (P, 2), on the plane."""

    ids: Tensor
    at: Tensor
    features: Tensor
    probes: Tensor


def limit_of(tiles: Sequence[PaintedTile]) -> int:
    """Return how many pixels a region gives per tile, at most."""
    pieces = sum(len(np.unique(t.regions)) for t in tiles)
    # Powers of two: painting one more region rarely changes how many pixels the others give.
    limit: int = 2 ** int(np.log2(max(_POOL / pieces, 1)))
    return min(max(limit, PER_REGION[0]), PER_REGION[1])


def draw(
    model: QuickModel, tiles: Sequence[PaintedTile], cache: FeatureCache, seed: int, limit: int
) -> Iterator[TileSample]:
    """Draw pixels and their features from each tile, or take last round's where nothing changed."""
    probes = max(16, min(_PROBES, 4 * _PROBES // len(tiles)))
    for tile in tiles:
        name, plane, box = tile.source.name, tile.plane, tile.box
        key = ("sample", name, plane, box, tile.digest, limit, probes, seed)
        sample = cache.get(key, TileSample)
        if sample is None:
            pyramid = tile_features(model, tile.source, plane, box, cache)
            rng = np.random.default_rng([seed, *map(int, box), *plane])
            y, x = places.pick(tile.regions, limit, rng)
            qy, qx = places.pairs(box.shape, probes // 2, rng)
            if (gaps := tile.source.no_data(plane, box)) is not None:
                qy, qx = places.on_data((qy, qx), gaps, rng)
            inner = feature_box(box, tile.source.size)
            down, right = box.y0 - inner.y0, box.x0 - inner.x0
            device = pyramid[0].device
            sample = TileSample(
                torch.from_numpy(tile.regions[y, x]),
                torch.from_numpy(np.stack([y + box.y0, x + box.x0], axis=1)),
                gather(pyramid, *indices(y + down, x + right, device)),
                gather(pyramid, *indices(qy + down, qx + right, device)),
            )
            held = sample.features.numel() + sample.probes.numel()
            cache.put(key, sample, 4 * held)
        yield sample


def vary(
    model: QuickModel, tile: PaintedTile, cache: FeatureCache, seed: int, copy: int, limit: int
) -> TileSample:
    """Draw pixels from a varied copy of a tile, or take last round's where nothing changed."""
    key = ("varied", tile.source.name, tile.plane, tile.box, tile.digest, limit, copy, seed)
    held = cache.get(key, TileSample)
    if held is not None:
        return held
    place = [seed, copy, *map(int, tile.box)]
    y, x = places.pick(tile.regions, limit, np.random.default_rng([*place, *tile.plane]))
    on_plane = y + tile.box.y0, x + tile.box.x0
    features = varied_features(model, tile.source, tile.plane, on_plane, place)
    at = torch.from_numpy(np.stack(on_plane, axis=1))
    sample = TileSample(torch.from_numpy(tile.regions[y, x]), at, features, features[:0])
    cache.put(key, sample, 4 * features.numel())
    return sample
