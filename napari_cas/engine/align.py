"""Which painted regions of different planes show the same appearance, given how many there are.

Known are where each region lies in a space in which noise has unit size, and that two regions of
one plane are different. Regions are merged bottom-up by average linkage, never two of one plane,
in units of how far each is from its plane's other regions: that is how far apart different things
are in this project. Then each plane's regions are reassigned, one to one, to the appearances'
centres until nothing changes.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

_MOST_MERGED = 128
_SWEEPS = 8


def align(coordinates: Tensor, plane: Tensor, count: int) -> Tensor:
    """Give regions of one appearance one number.

    Parameters
    ----------
    coordinates : Tensor
        (R, d) float64, one point per region.
    plane : Tensor
        (R,) int64; no plane has more than `count` regions.
    count : int
        How many appearances; where there are fewer regions, one for each.

    Returns
    -------
    Tensor
        (R,) int64, from 0 by first appearance; all different within a plane.
    """
    points, planes = coordinates.numpy(), plane.numpy()
    # The time grows with the cube of their number; the rest joins what the first ones found.
    first = np.isin(planes, np.unique(planes[:_MOST_MERGED]))
    # A plane with the most regions is among the first, so that there are appearances for them all.
    numbers, sizes = np.unique(planes, return_counts=True)
    first |= planes == numbers[sizes.argmax()]
    found = np.full(len(points), -1)
    found[first] = _merge(points[first], planes[first], count)
    for _ in range(_SWEEPS):
        before, found = found, _reassign(points, planes, found, count)
        if np.array_equal(before, found):
            break
    return torch.from_numpy(found)


def _merge(points: np.ndarray, planes: np.ndarray, count: int) -> np.ndarray:
    """Return cluster numbers by average linkage that never joins regions of one plane.

    Where what was merged first leaves no pair to join, more than `count` clusters remain.
    """
    squared = cdist(points, points, "sqeuclidean")
    reach = _reach(squared, planes)
    squared[planes[:, None] == planes[None]] = np.inf
    member = np.arange(len(points))
    size = np.ones(len(points))
    for _ in range(len(points) - count):
        # In units of how far the nearer of the two is from its own plane's others.
        relative = squared / np.minimum(reach[:, None], reach[None])
        i, j = np.unravel_index(relative.argmin(), squared.shape)
        if not np.isfinite(relative[i, j]):
            break
        joint = size[i] + size[j]
        squared[i] = squared[:, i] = (size[i] * squared[i] + size[j] * squared[j]) / joint
        reach[i] = (size[i] * reach[i] + size[j] * reach[j]) / joint
        squared[j] = squared[:, j] = np.inf
        squared[i, i] = np.inf
        member[member == j] = i
        size[i] = joint
    return member


def _reach(squared: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return each region's squared distance to the nearest other of its plane."""
    mates = (planes[:, None] == planes[None]) & ~np.eye(len(planes), dtype=bool)
    nearest = np.where(mates, squared, np.inf).min(1, initial=np.inf)
    known = nearest[np.isfinite(nearest)]
    # A region alone on its plane: as far as regions usually are.
    typical = float(np.median(known)) if len(known) else 1.0
    return np.maximum(np.where(np.isfinite(nearest), nearest, typical), 1e-9)


def _reassign(points: np.ndarray, planes: np.ndarray, found: np.ndarray, most: int) -> np.ndarray:
    """Keep the `most` largest clusters and assign each plane's regions to them, one to one."""
    names, sizes = np.unique(found[found >= 0], return_counts=True)
    kept = names[np.argsort(-sizes, kind="stable")[:most]]
    fewest = int(np.unique(planes, return_counts=True)[1].max())
    if len(kept) < fewest:  # cannot happen while each plane's regions are in different clusters
        msg = f"{fewest} regions of a plane for {len(kept)} appearances"
        raise ValueError(msg)
    centres = np.stack([points[found == name].mean(0) for name in kept])
    result = np.empty(len(points), np.int64)
    for number in np.unique(planes):
        own = np.flatnonzero(planes == number)
        rows, columns = linear_sum_assignment(cdist(points[own], centres, "sqeuclidean"))
        result[own[rows]] = columns
    return _by_first(result)


def _by_first(found: np.ndarray) -> np.ndarray:
    """Renumber from 0 in the order in which numbers first occur."""
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse], np.int64)
