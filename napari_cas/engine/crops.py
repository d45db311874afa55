"""What one optimiser step of a whole network sees: crops around painted pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_cas.engine.device import generator
from napari_cas.engine.painting import PaintedTile, digest_of
from napari_cas.engine.sampling import Batch
from napari_cas.engine.sources import read_stacked
from napari_cas.losses import index_regions
from napari_cas.protocol import Box, Plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.engine.features import FeatureCache
    from napari_cas.engine.sources import Source

_GRID = 32
_PROBE_STEP = 2**40


class _Painted(NamedTuple):
    """Painted pixels of one plane, sorted by region."""

    source: Source
    plane: Plane
    y: Tensor
    x: Tensor
    start: Tensor
    sizes: Tensor


class CropSampler:
    """Crops on one or more planes; the crops of a plane share its regions' statistics.

    Each crop is centred near a random pixel of another region of its plane, so that a step nearly
    always has two regions to tell apart, however far they are from each other.

    Parameters
    ----------
    tiles : sequence of PaintedTile
        What is painted.
    cache : FeatureCache
        Holds crops between steps and rounds.
    crop, batch : int
        Side of a crop in pixels, crops per step.
    seed : int
        Seed of all draws.
    device : torch.device
        Where batches go.
    stacked : int
        Neighbouring planes on each side that are part of a crop, as further channels.
    """

    def __init__(
        self,
        tiles: Sequence[PaintedTile],
        cache: FeatureCache,
        *,
        crop: int,
        batch: int,
        seed: int,
        device: torch.device,
        stacked: int = 0,
    ) -> None:
        self._stacked = stacked
        self._crop, self._batch, self._seed = crop, batch, seed
        self._cache, self._device = cache, device
        self._painted = _by_plane(tiles)
        self.digest = digest_of(tiles)

    def batch(self, step: int) -> Batch:
        """Return the crops of one step; the same for the same seed, step and paint."""
        rng = generator(self._seed, step)
        planes = max(1, min(self._batch // 2, len(self._painted)))
        chosen = torch.randperm(len(self._painted), generator=rng)[:planes].tolist()
        images, regions = [], []
        numbers = [chosen[turn % planes] for turn in range(self._batch)]
        orders = {
            n: torch.randperm(len(self._painted[n].sizes), generator=rng).tolist() for n in chosen
        }
        for turn, number in enumerate(numbers):
            painted, order = self._painted[number], orders[number]
            region = order[turn // planes % len(order)]
            image, painting = self._cut(painted, self._place(painted, region, rng))
            images.append(image)
            regions.append(painting)
        index = index_regions(torch.stack(regions), torch.tensor(numbers))
        return Batch(torch.stack(images).to(self._device), index.to(self._device))

    @property
    def probes(self) -> Tensor:
        """Crops on which the progress of training is watched."""
        return self.batch(_PROBE_STEP).inputs

    def _place(self, painted: _Painted, region: int, rng: torch.Generator) -> Box:
        """Return a crop around a random pixel of a region, inside the plane where it fits."""
        drawn = torch.rand(3, generator=rng)
        at = int(painted.start[region]) + int(drawn[0] * painted.sizes[region])
        # Rounded down so that crops repeat, but never past the pixel.
        step = min(_GRID, self._crop // 4)
        corner = []
        for centre, length, shift in zip(
            (int(painted.y[at]), int(painted.x[at])), painted.source.size, drawn[1:], strict=True
        ):
            # The pixel lies in the middle half of the crop.
            first = centre - self._crop // 4 - int(shift * self._crop / 2)
            # The plane's border comes last: rounded, it would never be seen.
            corner.append(max(0, min(first // step * step, length - self._crop)))
        return Box(corner[0], corner[1], corner[0] + self._crop, corner[1] + self._crop)

    def _cut(self, painted: _Painted, box: Box) -> tuple[Tensor, Tensor]:
        """Return a crop (C, h, w) and its regions, padded to full size at the plane's border."""
        key = ("crop", painted.source.name, painted.plane, box, self.digest)
        held = self._cache.get(key, tuple)
        if held is not None:
            return held
        inside = box.clip(*painted.source.size)
        image = read_stacked(painted.source, painted.plane, inside, self._stacked)
        regions = painted.source.regions(painted.plane, inside)
        below, right = self._crop - inside.shape[0], self._crop - inside.shape[1]
        image = np.pad(image, ((0, 0), (0, below), (0, right)), mode="edge")
        regions = np.pad(regions, ((0, below), (0, right)))
        pair = torch.from_numpy(image), torch.from_numpy(regions)
        self._cache.put(key, pair, image.nbytes + regions.nbytes)
        return pair


def _by_plane(tiles: Sequence[PaintedTile]) -> list[_Painted]:
    """Collect the painted pixels of each plane that has two regions or more."""
    found: dict[tuple[str, Plane], list[PaintedTile]] = {}
    for tile in tiles:
        found.setdefault((tile.source.name, tile.plane), []).append(tile)
    planes = []
    for group in found.values():
        places = [np.nonzero(t.regions) for t in group]
        ids = np.concatenate([t.regions[p] for t, p in zip(group, places, strict=True)])
        y = np.concatenate([p[0] + t.box.y0 for t, p in zip(group, places, strict=True)])
        x = np.concatenate([p[1] + t.box.x0 for t, p in zip(group, places, strict=True)])
        order = np.argsort(ids, kind="stable")
        _, start, count = np.unique(ids[order], return_index=True, return_counts=True)
        if len(count) > 1:
            tensors = (torch.from_numpy(v) for v in (y[order], x[order], start, count))
            planes.append(_Painted(group[0].source, group[0].plane, *tensors))
    return planes
