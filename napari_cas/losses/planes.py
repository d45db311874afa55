"""Sums and means over the regions of each plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cas.losses.regions import RegionIndex


def sum_per_plane(values: Tensor, regions: RegionIndex) -> Tensor:
    """Return the sums (P, ...) of per-region ``values`` (R, ...)."""
    if regions.n_planes == 1:  # the usual case while one image is painted, and the quicker
        return values.sum(0, keepdim=True)
    sums = values.new_zeros((regions.n_planes, *values.shape[1:]))
    return sums.index_add(0, regions.plane, values)


def mean_over_planes(values: Tensor, regions: RegionIndex) -> Tensor:
    """Return the mean of per-region ``values`` (R,) over each plane, averaged over planes."""
    return average(sum_per_plane(values, regions), regions.per_plane)


def average(per_plane: Tensor, terms: Tensor) -> Tensor:
    """Return the mean of ``per_plane / terms`` (P,); zero terms count as one, no plane as zero."""
    return (per_plane / terms.clamp(min=1)).sum() / max(per_plane.numel(), 1)


def pad(values: Tensor, regions: RegionIndex) -> Tensor:
    """Return per-region ``values`` (R, K) as (P, widest, K), zero where a plane has fewer."""
    shape = (regions.n_planes, regions.widest, values.shape[1])
    if shape[0] * shape[1] == values.shape[0]:  # no plane has fewer, and they are in order
        return values.view(shape)
    return values.new_zeros(shape).index_put((regions.plane, regions.rank), values)
