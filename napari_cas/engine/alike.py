"""Regions of one plane that look alike: the loss must not ask for a difference that is not there.

People paint two nuclei as two regions. Told to tell them apart, a network does so by whatever noise
or neighbourhood offers, and what it learns is useless elsewhere. So regions whose features overlap
are taken as one by the loss, and the annotator is told.

How far two regions i, j are from each other is measured by the squared distance of their mean
features in units of their scatter, ``‖μi − μj‖² / (tr Σi + tr Σj)``: 0 for samples of one
distribution, about 1 where most pixels are nearer to their own region's mean.

The more of a texture is painted, the more its pixels scatter, while its mean stays: large regions
seem nearer than strokes in them. So those that are large enough are compared by the means of their
parts as well, ``‖μi − μj‖² / (tr Vi + tr Vj)`` with the variance V of parts' means: whether they
differ more from each other than each does from place to place.

Whoever corrects paints where the network is wrong: beside borders, in what is hard to tell. The
more is corrected, the more two regions scatter and the nearer their means come, until what their
first strokes said would be lost. So regions of several strokes are compared stroke by stroke, too:
where a good part of the paint of either has no counterpart in the other, they are two.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.ndimage import label
from scipy.spatial.distance import squareform

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

NEAR_LOCAL, NEAR_ALL = 0.08, 0.25
"""Alike: nearer than this in features of up to 8 pixels' reach, and in all features."""

PARTS_LOCAL, PARTS_ALL = 0.3, 0.4
"""Alike: nearer than this by the means of parts, too, in the same features."""

COUNTERPART, MATCHED = 2.0, 0.75
"""Alike: of one of the two, at least so much of the paint is in strokes to which the other has one
that is nearer than this multiple of what is near."""

_SIDE = 32
_PARTS, _FEWEST_PARTS, _FEWEST_IN_PART = 4, 4, 8
_EXACT = "donot_use_mm_for_euclid_dist"
_FEWEST_PIXELS = 12
_GAP = 8
_MOST_STROKES = 4096
_MOST_REGIONS = 1500


def group_alike(
    features: Tensor, count: Tensor, plane: Tensor, at: Tensor, *, local: int, channels: int
) -> tuple[Tensor, Tensor]:
    """Give each region a number that alike regions of its plane share.

    Parameters
    ----------
    features : Tensor
        (P, D) standardised features, sorted by region.
    count : Tensor
        (R,) pixels of each region.
    plane : Tensor
        (R,) plane of each region.
    at : Tensor
        (P, 2) row and column of each pixel on its plane.
    local : int
        The first features, which see a small neighbourhood only.
    channels : int
        Softmax channels M.

    Returns
    -------
    Tensor
        (R,) int64, unique over all planes.
    Tensor
        (R,) int64, the same as far as regions are alike: where a plane has more kinds of regions
        than there are channels, some share a number that are not.
    """
    near = _Nearness(features, count, at, local)
    group, alike = torch.empty_like(count), torch.empty_like(count)
    first = 0
    for number in plane.unique():  # type: ignore[no-untyped-call]
        own = (plane == number).nonzero()[:, 0]
        groups, those = near.cluster(own, count[own], channels)
        group[own], alike[own] = groups + first, those + first
        first += int(those.max()) + 1
    return group, alike


def _moments(features: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return (R, D) means and variances of each region."""
    index = torch.repeat_interleave(torch.arange(len(count)), count).to(features.device)
    number = count.to(features)[:, None].clamp(min=1)
    zeros = features.new_zeros(len(count), features.shape[1])
    means = zeros.index_add(0, index, features) / number
    scatter = zeros.index_add(0, index, (features - means[index]).square()) / number
    return means.cpu(), scatter.cpu()


def _parts(features: Tensor, count: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean features of parts of regions, sorted by region, and the (R,) parts of each.

    Parts are the cells of a grid over the region, 32 pixels a side or, where it extends over more
    than 4 cells, a quarter of it. Those with a few pixels only are left out.
    """
    region = torch.repeat_interleave(torch.arange(len(count)), count)
    index = region[:, None].expand(-1, 2)
    zeros = torch.zeros(len(count), 2, dtype=torch.int64)
    first = zeros.scatter_reduce(0, index, at, "amin", include_self=False)
    extent = zeros.scatter_reduce(0, index, at, "amax", include_self=False) - first + 1
    side = (-(-extent // _PARTS)).clamp(min=_SIDE)
    row, column = ((at - first[region]) // side[region]).T
    cell = (region * _PARTS + row) * _PARTS + column
    known, part, pixels = torch.unique(cell, return_inverse=True, return_counts=True)
    zeros = features.new_zeros(len(known), features.shape[1])
    means = zeros.index_add(0, part.to(features.device), features).cpu() / pixels[:, None]
    kept = pixels >= _FEWEST_IN_PART
    return means[kept], torch.bincount(known[kept] // _PARTS**2, minlength=len(count))


def _strokes(at: Tensor, count: Tensor) -> Tensor:
    """Return the (P,) stroke of each pixel, numbered through all regions.

    Pixels less than 8 to 16 pixels apart are of one stroke: large regions give only some of theirs.
    """
    stroke, first = [], 0
    for own in torch.split(at, count.tolist()):
        y, x = ((own - own.amin(0)) // _GAP).numpy().T
        grid = np.zeros((y.max() + 1, x.max() + 1), bool)
        grid[y, x] = True
        labels, number = label(grid, np.ones((3, 3)))
        stroke.append(torch.from_numpy(labels[y, x].astype(np.int64) - 1 + first))
        first += number
    return torch.cat(stroke)


class _Nearness:
    """Distances between regions, in units in which alike ones are nearer than 1."""

    def __init__(self, features: Tensor, count: Tensor, at: Tensor, local: int) -> None:
        self._painted = features, count, at
        self._means, self._scatter = _moments(features, count)
        self._local = local

    @cached_property
    def _of_parts(self) -> tuple[Tensor, Tensor]:
        """(R, D) variances of parts' means, and (R,) whether there are enough parts."""
        means, number = _parts(*self._painted)
        unbiased = number / (number - 1).clamp(min=1)
        return _moments(means, number)[1] * unbiased[:, None], number >= _FEWEST_PARTS

    def _ratio(self, means: Tensor, scatter: Tensor, near: tuple[float, float]) -> Tensor:
        """Return (K, K) distances of means in units of scatter and of what is near."""
        ratios = []
        for stop, unit in zip((self._local, scatter.shape[1]), near, strict=True):
            mean, total = means[:, :stop], scatter[:, :stop].sum(1)
            squared = torch.cdist(mean, mean, compute_mode=_EXACT).square()
            ratios.append(squared / (total[:, None] + total[None]).clamp(min=1e-6) / unit)
        return torch.maximum(*ratios)

    def _by_parts(self, own: Tensor) -> Tensor:
        """Return (K, K) distances by the means of parts, 0 where parts are too few."""
        scatter, enough = self._of_parts
        ratio = self._ratio(self._means[own], scatter[own], (PARTS_LOCAL, PARTS_ALL))
        return ratio * (enough[own, None] & enough[None, own])

    def _strokes_of(self, own: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return means and variances (S, D), pixels (S,) and the place in `own` of strokes (S,)."""
        features, count, at = self._painted
        chosen = torch.isin(torch.repeat_interleave(torch.arange(len(count)), count), own)
        stroke = _strokes(at[chosen], count[own])
        order = torch.argsort(stroke)
        pixels = torch.bincount(stroke)
        place = torch.empty_like(pixels)
        place[stroke] = torch.repeat_interleave(torch.arange(len(own)), count[own])
        of = features[chosen.to(features.device)][order.to(features.device)]
        return *_moments(of, pixels), pixels, place

    def _unmatched(self, own: Tensor) -> Tensor:
        """Return (K, K) bool: pairs that both have much paint like no stroke of the other."""
        means, scatter, pixels, place = self._strokes_of(own)
        if len(pixels) == len(own) or len(pixels) > _MOST_STROKES:
            return torch.zeros(len(own), len(own), dtype=torch.bool)
        near = self._ratio(means, scatter, (NEAR_LOCAL, NEAR_ALL)) < COUNTERPART
        large = pixels >= _FEWEST_PIXELS
        zeros = torch.zeros(len(pixels), len(own))
        matched = zeros.index_add(1, place, (near & large).float()) > 0
        weight = (pixels * large)[:, None].float()
        share = torch.zeros(len(own), len(own)).index_add(0, place, matched * weight)
        share /= torch.zeros(len(own), 1).index_add(0, place, weight).clamp(min=1)
        return torch.maximum(share, share.T) < MATCHED

    def cluster(self, own: Tensor, count: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """Return group numbers from 0 of regions of one plane, and those of what is alike."""
        if len(own) < 2:
            return torch.arange(len(own)), torch.arange(len(own))
        if len(own) > _MOST_REGIONS:
            return self._cluster_largest(own, count, channels)
        distance = self._ratio(self._means[own], self._scatter[own], (NEAR_LOCAL, NEAR_ALL))
        near = (distance < 1).fill_diagonal_(fill_value=False)
        if len(own) > channels or bool(near.any()):
            distance = torch.maximum(distance, self._by_parts(own))
            some = (distance < 1).fill_diagonal_(fill_value=False).any(1).nonzero()[:, 0]
            if len(some):
                distance[some[:, None], some] += COUNTERPART * self._unmatched(own[some])
        if len(own) <= channels:
            # A handful of pixels says too little about a region to overrule who painted it.
            small = count < _FEWEST_PIXELS
            distance[small] = 2.0
            distance[:, small] = 2.0
        matrix = distance.double().numpy().copy()
        np.fill_diagonal(matrix, 0)
        # Average linkage: one pair in between must not chain two kinds together.
        tree = linkage(squareform(matrix, checks=False), "average")
        alike = _cut(tree, 1.0)
        if len(own) <= channels:
            return alike, alike
        # Some must share a channel anyway; let it be those that look most alike.
        return _cut(tree, max(1.0, float(tree[len(own) - channels - 1, 2]))), alike

    def _cluster_largest(self, own: Tensor, count: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """Return the same of too many regions to compare all pairs: the rest as what is nearest."""
        largest = torch.argsort(count, descending=True, stable=True)[:_MOST_REGIONS]
        group, alike = self.cluster(own[largest], count[largest], channels)
        means = self._means[own]
        nearest = torch.cdist(means, means[largest]).argmin(1)
        nearest[largest] = torch.arange(len(largest))
        return group[nearest], alike[nearest]


def _cut(tree: NDArray[np.float64], limit: float) -> Tensor:
    """Return the groups (R,), from 0, of a tree of linkage up to a distance."""
    found = fcluster(tree, limit, "distance")
    return torch.from_numpy(np.unique(found, return_inverse=True)[1].astype(np.int64))
