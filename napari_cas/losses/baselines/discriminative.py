"""Discriminative loss on pixel embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_cas.losses.baselines.embeddings import painted_pixels
from napari_cas.losses.planes import average, mean_over_planes, pad

if TYPE_CHECKING:
    from napari_cas.losses.regions import RegionIndex


def discriminative_loss(
    embeddings: Tensor,
    regions: Tensor | RegionIndex,
    *,
    planes: Tensor | None = None,
    pull_margin: float = 0.5,
    push_margin: float = 1.5,
    pull: float = 1.0,
    push: float = 1.0,
    centre: float = 1e-3,
    ignore_index: int = 0,
) -> Tensor:
    r"""Return the discriminative loss of De Brabandere et al. [1]_, averaged over planes.

    For a plane with region means ``μ_c`` of embeddings x, and ``[a]+ = max(a, 0)``::

        pull   · mean_c mean_{x in c} [‖x - μ_c‖ - pull_margin]+²
        + push · mean_{a≠b} [2 push_margin - ‖μ_a - μ_b‖]+²
        + centre · mean_c ‖μ_c‖

    Parameters
    ----------
    embeddings : Tensor
        (B, E, \*S) floating point.
    regions : Tensor or RegionIndex
        (B, \*S) integers: painted ids, ``ignore_index`` where unpainted.
    planes : Tensor, optional
        As in :func:`napari_cas.losses.cas_loss`.
    pull_margin, push_margin : float
        δ_v and δ_d, in embedding units: regions become balls of the first radius, at least twice
        the second apart. Read out by mean-shift with the first as bandwidth.
    pull, push, centre : float
        Weights of the three terms; the paper's by default.
    ignore_index : int
        Id of unpainted pixels.

    Returns
    -------
    Tensor
        Scalar; zero where nothing is painted.

    Raises
    ------
    InputError
        Bad shapes, dtypes or devices, negative ids, non-finite embeddings.

    References
    ----------
    .. [1] B. De Brabandere, D. Neven, L. Van Gool, "Semantic instance segmentation with a
       discriminative loss function", CVPR Workshops 2017.
    """
    pixels = painted_pixels(embeddings, regions, planes, ignore_index)
    found = pixels.regions
    means = pixels.region_means(pixels.vectors)
    away = torch.linalg.vector_norm(pixels.vectors - means[pixels.region], dim=1)
    inner = pixels.region_means((away - pull_margin).clamp(min=0).square()[:, None])[:, 0]
    weight = torch.linalg.vector_norm(means, dim=1)
    return (
        pull * mean_over_planes(inner, found)
        + push * _push(means, found, push_margin)
        + centre * mean_over_planes(weight, found)
    )


def _push(means: Tensor, regions: RegionIndex, margin: float) -> Tensor:
    """Return the hinged squared distance of ordered pairs, averaged per plane and over planes."""
    padded = pad(means, regions)
    number = regions.per_plane
    real = torch.arange(regions.widest, device=means.device) < number[:, None]
    own = torch.eye(regions.widest, dtype=torch.bool, device=means.device)
    pairs = real[:, :, None] & real[:, None, :] & ~own
    apart = torch.linalg.vector_norm(padded[:, :, None] - padded[:, None, :], dim=3)
    hinge = (2 * margin - apart).clamp(min=0).square().masked_fill(~pairs, 0)
    return average(hinge.sum((1, 2)), number * (number - 1))


class DiscriminativeLoss(nn.Module):
    """:func:`discriminative_loss` as a module."""

    def __init__(
        self, *, pull_margin: float = 0.5, push_margin: float = 1.5, ignore_index: int = 0
    ) -> None:
        super().__init__()
        self.pull_margin, self.push_margin = pull_margin, push_margin
        self.ignore_index = ignore_index

    def forward(
        self, embeddings: Tensor, regions: Tensor | RegionIndex, planes: Tensor | None = None
    ) -> Tensor:
        """Return the scalar loss."""
        return discriminative_loss(
            embeddings,
            regions,
            planes=planes,
            pull_margin=self.pull_margin,
            push_margin=self.push_margin,
            ignore_index=self.ignore_index,
        )
