"""How different regions are pushed apart: functions of the region descriptors alone.

Every discriminator takes the descriptors of all regions of a batch and returns what the loss adds,
so smaller is better: regions that differ more. Only regions of one plane are compared. The problem
is as small as the regions are few, so plain autograd differentiates it; the pixels are dealt with
in :mod:`napari_cas.losses.moments`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_cas.losses.planes import average, pad, sum_per_plane

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cas.losses.regions import RegionIndex

EPSILON = 1e-3
"""Where the barriers level off: closer overlaps, or thinner volumes, count as this."""


def squared(descriptors: Tensor, regions: RegionIndex, *, mean: bool) -> Tensor:
    """Squared Euclidean distance over ordered pairs, Eq. 1 of the paper: ``-Σ_{i≠j} ‖ŝi - ŝj‖²``.

    Per plane of N regions it lies in ``[-2 (N² - Σ_c n_c²), 0]``, where n_c are N regions shared as
    evenly as can be among M channels; for N ≤ M that is ``-2 N (N - 1)``. Use it to reproduce the
    paper; for more than two regions it collapses (see ``docs/loss.md``), since its gradient
    vanishes where two regions sit in one saturated channel.

    Parameters
    ----------
    descriptors : Tensor
        (R, M) mean softmax vectors.
    regions : RegionIndex
        The plane of each descriptor.
    mean : bool
        Average over the ordered pairs of each plane, then over planes; otherwise sum over all.

    Returns
    -------
    Tensor
        Scalar.
    """
    number = regions.per_plane
    centre = sum_per_plane(descriptors, regions) / number[:, None]
    # Σ_{i≠j} ‖ŝi - ŝj‖² = 2 N Σ_i ‖ŝi - centre‖²: linear in N, and exact where all are equal.
    spread = (descriptors - centre[regions.plane]).square().sum(1)
    pairs = 2 * number * sum_per_plane(spread, regions)
    return -_over_planes(pairs, number * (number - 1), mean=mean)


def log_overlap(descriptors: Tensor, regions: RegionIndex, *, mean: bool) -> Tensor:
    """Barrier on the overlap of ordered pairs: ``-Σ_{i≠j} log(1 - (1 - ε) ⟨ŝi, ŝj⟩)``, ε = 1e-3.

    ⟨ŝi, ŝj⟩ is the chance that a pixel of each, drawn by their own softmax, fall into one channel:
    the term is the negative log-likelihood of "these two are different". Each pair lies in
    ``[0, -log ε]`` and its gradient grows as the pair collapses. Any descriptors with nothing in
    common reach zero: unlike the other two it does not make them one-hot, so with more channels
    than regions one region may keep several. Memory is quadratic in the regions of a plane.

    Parameters and return value as in :func:`squared`.
    """
    padded = pad(descriptors, regions)
    overlap = padded @ padded.mT
    # Padding overlaps with nothing and costs -log 1 = 0; a region is not compared with itself.
    own = torch.eye(overlap.shape[-1], dtype=torch.bool, device=overlap.device)
    barrier = -torch.log1p(-(1 - EPSILON) * overlap.masked_fill(own, 0))
    number = regions.per_plane
    return _over_planes(barrier.sum((1, 2)), number * (number - 1), mean=mean)


def log_volume(descriptors: Tensor, regions: RegionIndex, *, mean: bool) -> Tensor:
    """Log-volume spanned by the descriptors: ``-log det(Gram(ŝ) + ε I)``, ε = 1e-3, per plane.

    The determinant of the Gram matrix is the squared volume of the parallelepiped that a plane's
    descriptors span: zero as soon as one is a mixture of others, one when all are different one-hot
    vectors. It looks at all regions at once, not at pairs, and is the tool's default. Cf.
    determinantal point processes [1]_. A plane with one region adds zero: there is nothing to tell
    it apart from. Bounds for a plane of N > 1 regions and M channels, before the division by N::

        above    -((N - 1) log ε + log(N/M + ε))          all descriptors uniform
        below    -N log(1 + ε)                            N ≤ M: all one-hot and different
                 -(M log(N/M + ε) + (N - M) log ε)        N > M: one-hot, shared evenly

    For planes of more regions than channels it is evaluated on the M × M side by Sylvester's
    identity ``det(ŝ ŝᵀ + ε I_N) = ε^(N-M) det(ŝᵀ ŝ + ε I_M)``, so memory stays O(N M + M²).

    Parameters and return value as in :func:`squared`.

    References
    ----------
    .. [1] A. Kulesza, B. Taskar, "Determinantal point processes for machine learning", 2012.
    """
    number = regions.per_plane
    padded, channels = pad(descriptors, regions), descriptors.shape[1]
    if regions.widest <= channels:
        gram = padded @ padded.mT
        # A padded row adds a lone ε to the diagonal, which is taken out again.
        surplus = regions.widest - number
    else:
        gram = padded.mT @ padded
        surplus = channels - number
    level = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device) * EPSILON
    factor = torch.linalg.cholesky_ex(gram + level).L
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
    log_det = log_det - surplus.to(log_det.dtype) * math.log(EPSILON)
    return -_over_planes(log_det * (number > 1), number, mean=mean)


DISCRIMINATORS: dict[str, Callable[..., Tensor]] = {
    "squared": squared,
    "log_overlap": log_overlap,
    "log_volume": log_volume,
}


def _over_planes(per_plane: Tensor, terms: Tensor, *, mean: bool) -> Tensor:
    """Sum over planes, or average over the ``terms`` of each plane and over planes."""
    if not mean:
        return per_plane.sum()
    return average(per_plane, terms)
