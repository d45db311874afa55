"""Magnet loss on pixel embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_cas.errors import InputError
from napari_cas.losses.baselines.embeddings import painted_pixels
from napari_cas.losses.planes import mean_over_planes
from napari_cas.losses.regions import RegionIndex, index_regions


def magnet_loss(
    embeddings: Tensor,
    regions: Tensor | RegionIndex,
    *,
    planes: Tensor | None = None,
    clusters: Tensor | None = None,
    gap: float = 1.0,
    ignore_index: int = 0,
) -> Tensor:
    r"""Return the magnet loss of Rippel et al. [1]_, regions of a plane as its classes.

    For an embedding r in cluster c of its region, cluster means μ and variance σ² of a plane::

        [ ‖r - μ_c‖² / 2σ² + gap + log Σ_{d of other regions} exp(-‖r - μ_d‖² / 2σ²) ]+

    with ``σ² = Σ ‖r - μ_c‖² / (n - 1)``, averaged over the pixels of a region, regions and planes.

    Parameters
    ----------
    embeddings : Tensor
        (B, E, \*S) floating point.
    regions : Tensor or RegionIndex
        (B, \*S) integers: painted ids, ``ignore_index`` where unpainted.
    planes : Tensor, optional
        As in :func:`napari_cas.losses.cas_loss`.
    clusters : Tensor, optional
        (B, \*S) integers from 0 that split regions further (the paper re-computes them by k-means
        between epochs); by default each region is one cluster.
    gap : float
        α of the paper, in units of σ².
    ignore_index : int
        Id of unpainted pixels.

    Returns
    -------
    Tensor
        Scalar; a plane with one region adds zero.

    Raises
    ------
    InputError
        Bad shapes, dtypes or devices, negative ids, non-finite embeddings.

    References
    ----------
    .. [1] O. Rippel, M. Paluri, P. Dollar, L. Bourdev, "Metric learning with adaptive density
       discrimination", ICLR 2016.
    """
    pixels = painted_pixels(embeddings, regions, planes, ignore_index)
    found = pixels.regions
    cluster, means, home = _clusters(pixels.vectors, pixels.region, found, clusters)
    pull = (pixels.vectors - means[cluster]).square().sum(1)
    plane = found.plane[pixels.region]
    variance = _variance(pull, plane, found.n_planes)[plane]
    # Every pixel against every cluster mean of the batch; those of other planes are masked.
    apart = torch.cdist(pixels.vectors, means, compute_mode="donot_use_mm_for_euclid_dist")
    others = (found.plane[home] == plane[:, None]) & (home != pixels.region[:, None])
    exponent = -apart.square() / (2 * variance[:, None])
    push = exponent.masked_fill(~others, -torch.inf)
    alone = ~others.any(1)
    push = torch.where(alone[:, None], 0, push).logsumexp(1)
    hinge = (pull / (2 * variance) + gap + push).clamp(min=0).masked_fill(alone, 0)
    return mean_over_planes(pixels.region_means(hinge[:, None])[:, 0], found)


def _clusters(
    vectors: Tensor, region: Tensor, regions: RegionIndex, clusters: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cluster of each pixel (n,), cluster means (K, E) and the region of each (K,)."""
    if clusters is None:
        own = index_regions(region[None], ignore_index=-1)
    else:
        expected, got = _shape(regions.index), _shape(clusters)
        if got != expected:
            raise InputError("Clusters do not fit the regions", expected=expected, got=got)
        part = clusters.flatten()[regions.index.flatten() >= 0]
        own = index_regions(part[None], planes=region[None], ignore_index=-1)
        if bool((own.index < 0).any()):
            raise InputError("A cluster is negative", expected="clusters from 0 up", got="-1")
    cluster = own.index[0].long()
    means = vectors.new_zeros((own.count.numel(), vectors.shape[1]))
    means = means.index_add(0, cluster, vectors) / own.count[:, None].to(vectors.dtype)
    home = torch.zeros_like(own.count).index_put((cluster,), region)
    return cluster, means, home


def _shape(values: object) -> str:
    return str(tuple(values.shape)) if isinstance(values, Tensor) else type(values).__name__


def _variance(pull: Tensor, plane: Tensor, n_planes: int) -> Tensor:
    """Return σ² of each plane; kept off zero, where all pixels sit on their means."""
    sums = pull.new_zeros(n_planes).index_add(0, plane, pull)
    number = torch.bincount(plane, minlength=n_planes)
    tiny = torch.finfo(pull.dtype).eps
    return (sums / (number - 1).clamp(min=1)).clamp(min=tiny)


class MagnetLoss(nn.Module):
    """:func:`magnet_loss` as a module.

    It finds no clusters: each region is one, unless they are given with the batch. Between epochs
    of a data set, k-means finds several of a class, which varies; a region is of one appearance.
    """

    def __init__(self, *, gap: float = 1.0, ignore_index: int = 0) -> None:
        super().__init__()
        self.gap, self.ignore_index = gap, ignore_index

    def forward(
        self,
        embeddings: Tensor,
        regions: Tensor | RegionIndex,
        planes: Tensor | None = None,
        clusters: Tensor | None = None,
    ) -> Tensor:
        """Return the scalar loss."""
        return magnet_loss(
            embeddings,
            regions,
            planes=planes,
            clusters=clusters,
            gap=self.gap,
            ignore_index=self.ignore_index,
        )
