"""Regions of one plane that look alike: the loss must not ask for a difference that is not there.

People paint two nuclei as two regions. Told to tell them apart, a network does so by whatever noise
or neighbourhood offers, and what it learns is useless elsewhere. So regions whose features overlap
are taken as one by the loss, and the annotator is told.

How far two regions i, j are from each other is measured by the squared distance of their mean
features in units of their scatter, ``‖μi − μj‖² / (tr Σi + tr Σj)``: 0 for samples of one
distribution, about 1 where most pixels are nearer to their own region's mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

if TYPE_CHECKING:
    from torch import Tensor

NEAR_LOCAL, NEAR_ALL = 0.08, 0.25
"""Alike: nearer than this in features of up to 8 pixels' reach, and in all features."""

_FEWEST_PIXELS = 12
_MOST_REGIONS = 1500


def group_alike(
    features: Tensor, count: Tensor, plane: Tensor, *, local: int, channels: int
) -> Tensor:
    """Give each region a number that alike regions of its plane share.

    Parameters
    ----------
    features : Tensor
        (P, D) standardised features, sorted by region.
    count : Tensor
        (R,) pixels of each region.
    plane : Tensor
        (R,) plane of each region.
    local : int
        The first features, which see a small neighbourhood only.
    channels : int
        Softmax channels M.

    Returns
    -------
    Tensor
        (R,) int64, unique over all planes.
    """
    means, scatter = _moments(features, count)
    near = _Nearness(means, scatter, local)
    group = torch.empty_like(count)
    first = 0
    for number in plane.unique():  # type: ignore[no-untyped-call]
        own = (plane == number).nonzero()[:, 0]
        groups = near.cluster(own, count[own], channels)
        group[own] = groups + first
        first += int(groups.max()) + 1
    return group


def _moments(features: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return (R, D) means and variances of each region."""
    index = torch.repeat_interleave(torch.arange(len(count)), count).to(features.device)
    number = count.to(features)[:, None]
    zeros = features.new_zeros(len(count), features.shape[1])
    means = zeros.index_add(0, index, features) / number
    scatter = zeros.index_add(0, index, (features - means[index]).square()) / number
    return means.cpu(), scatter.cpu()


class _Nearness:
    """Distances between regions, in units in which alike ones are nearer than 1."""

    def __init__(self, means: Tensor, scatter: Tensor, local: int) -> None:
        self._means, self._scatter, self._local = means, scatter, local

    def _ratio(self, own: Tensor, stop: int) -> Tensor:
        means, scatter = self._means[own, :stop], self._scatter[own, :stop].sum(1)
        squared = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist").square()
        return squared / (scatter[:, None] + scatter[None]).clamp(min=1e-6)

    def cluster(self, own: Tensor, count: Tensor, channels: int) -> Tensor:
        """Return group numbers from 0 of the regions `own` of one plane."""
        if not 2 <= len(own) <= _MOST_REGIONS:
            return torch.arange(len(own))
        local = self._ratio(own, self._local) / NEAR_LOCAL
        distance = torch.maximum(local, self._ratio(own, self._means.shape[1]) / NEAR_ALL)
        if len(own) <= channels:
            # A handful of pixels says too little about a region to overrule who painted it.
            small = count < _FEWEST_PIXELS
            distance[small] = 2.0
            distance[:, small] = 2.0
        matrix = distance.double().numpy().copy()
        np.fill_diagonal(matrix, 0)
        # Average linkage: one pair in between must not chain two kinds together.
        tree = linkage(squareform(matrix, checks=False), "average")
        limit = 1.0
        if len(own) > channels:
            # Some must share a channel anyway; let it be those that look most alike.
            limit = max(limit, float(tree[len(own) - channels - 1, 2]))
        found = fcluster(tree, limit, "distance")
        return torch.from_numpy(np.unique(found, return_inverse=True)[1].astype(np.int64))
