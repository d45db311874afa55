"""What the losses on pixel embeddings share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from napari_cas.losses.checks import check_finite, checked_regions

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cas.losses.regions import RegionIndex


class Pixels(NamedTuple):
    """The painted pixels of a batch."""

    vectors: Tensor
    """(n, E) embeddings, float32 or float64."""
    region: Tensor
    """(n,) int64: region of each, 0..R-1."""
    regions: RegionIndex
    """The regions."""

    def region_means(self, values: Tensor) -> Tensor:
        """Return the means (R, K) of per-pixel ``values`` (n, K) over regions."""
        sums = values.new_zeros((self.regions.count.numel(), values.shape[1]))
        count = self.regions.count[:, None].to(values.dtype)
        return sums.index_add(0, self.region, values) / count


def painted_pixels(
    embeddings: Tensor, regions: Tensor | RegionIndex, planes: Tensor | None, ignore_index: int
) -> Pixels:
    """Return the painted pixels of ``embeddings`` (B, E, ...), checked."""
    found = checked_regions(embeddings, regions, planes, ignore_index, name="Embeddings")
    check_finite(embeddings, name="Embeddings")
    index = found.index.flatten().long()
    painted = index >= 0
    vectors = embeddings.movedim(1, -1).flatten(0, -2)[painted]
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    return Pixels(vectors.to(dtype), index[painted], found)
