"""FaceNet's triplet loss on pixel embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_cas.errors import InputError
from napari_cas.losses.baselines.embeddings import Pixels, painted_pixels

if TYPE_CHECKING:
    from napari_cas.losses.regions import RegionIndex


def triplet_loss(
    embeddings: Tensor,
    regions: Tensor | RegionIndex,
    *,
    planes: Tensor | None = None,
    margin: float = 0.2,
    samples: int = 128,
    generator: torch.Generator | None = None,
    ignore_index: int = 0,
) -> Tensor:
    r"""Return the triplet loss of Schroff et al. [1]_ with semi-hard negatives.

    ``mean_{(a, p)} [‖a - p‖² - ‖a - n‖² + margin]+`` over ordered pairs of pixels of one region,
    embeddings scaled to length one. The negative n, a pixel of another region of the same plane,
    is the nearest that is farther than p (semi-hard), or the farthest where none is. All triplets
    would be cubic in the pixels, so ``samples`` of each plane are drawn, evenly over its regions.

    Parameters
    ----------
    embeddings : Tensor
        (B, E, \*S) floating point.
    regions : Tensor or RegionIndex
        (B, \*S) integers: painted ids, ``ignore_index`` where unpainted.
    planes : Tensor, optional
        As in :func:`napari_cas.losses.cas_loss`.
    margin : float
        In squared distance of unit vectors; the paper's 0.2.
    samples : int
        Pixels drawn of each plane, at least 1.
    generator : torch.Generator, optional
        Source of the draw.
    ignore_index : int
        Id of unpainted pixels.

    Returns
    -------
    Tensor
        Scalar, averaged over planes with at least one triplet; zero without any.

    Raises
    ------
    InputError
        Bad shapes, dtypes or devices, negative ids, non-finite embeddings, no samples.

    References
    ----------
    .. [1] F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet: a unified embedding for face
       recognition and clustering", CVPR 2015.
    """
    if samples < 1:
        raise InputError("Nothing would be drawn", expected="samples from 1 up", got=str(samples))
    pixels = painted_pixels(embeddings, regions, planes, ignore_index)
    drawn = _draw(pixels, samples, generator)
    vectors = nn.functional.normalize(pixels.vectors[drawn], dim=1)
    region = pixels.region[drawn]
    plane = pixels.regions.plane[region]
    terms = []
    for number in range(pixels.regions.n_planes):
        own = plane == number
        term = _semi_hard(vectors[own], region[own], margin)
        if term.numel():
            terms.append(term.mean())
    return torch.stack(terms).mean() if terms else pixels.vectors.sum() * 0


def _draw(pixels: Pixels, samples: int, generator: torch.Generator | None) -> Tensor:
    """Return positions of at most ``samples`` pixels a plane, as even over regions as can be."""
    order = torch.randperm(len(pixels.region), generator=generator).to(pixels.region.device)
    # Turn of each pixel within its region: the first of every region come before the second.
    shuffled = pixels.region[order]
    grouped = torch.argsort(shuffled, stable=True)
    first = pixels.regions.count.cumsum(0) - pixels.regions.count
    turn = torch.empty_like(grouped)
    turn[grouped] = torch.arange(len(grouped), device=turn.device) - first[shuffled[grouped]]
    order = order[turn.argsort(stable=True)]
    plane = pixels.regions.plane[pixels.region[order]]
    kept = [order[plane == number][:samples] for number in range(pixels.regions.n_planes)]
    return torch.cat(kept) if kept else order


def _semi_hard(vectors: Tensor, region: Tensor, margin: float) -> Tensor:
    """Return the hinge of every (anchor, positive) pair that has a negative."""
    apart = (vectors[:, None] - vectors[None]).square().sum(2)
    same = region[:, None] == region[None]
    anchor, positive = (
        same & ~torch.eye(len(region), dtype=torch.bool, device=same.device)
    ).nonzero(as_tuple=True)
    has_negative = (~same).any(1)[anchor]
    anchor, positive = anchor[has_negative], positive[has_negative]
    near = apart[anchor, positive]
    others, different = apart[anchor], ~same[anchor]
    harder = others.masked_fill(~different | (others <= near[:, None]), torch.inf).amin(1)
    farthest = others.masked_fill(~different, -torch.inf).amax(1)
    negative = torch.where(harder.isinf(), farthest, harder)
    return (near - negative + margin).clamp(min=0)


class TripletLoss(nn.Module):
    """:func:`triplet_loss` as a module."""

    def __init__(self, *, margin: float = 0.2, samples: int = 128, ignore_index: int = 0) -> None:
        super().__init__()
        self.margin, self.samples, self.ignore_index = margin, samples, ignore_index

    def forward(
        self, embeddings: Tensor, regions: Tensor | RegionIndex, planes: Tensor | None = None
    ) -> Tensor:
        """Return the scalar loss."""
        return triplet_loss(
            embeddings,
            regions,
            planes=planes,
            margin=self.margin,
            samples=self.samples,
            ignore_index=self.ignore_index,
        )
