"""Statistics of the softmax vectors of each region: the only part of the loss that sees pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cas.losses.regions import RegionIndex


def region_moments(logits: Tensor, regions: RegionIndex, uniformer: str) -> tuple[Tensor, Tensor]:
    r"""Return descriptors (R, M) and spread (R,) of every region.

    Parameters
    ----------
    logits : Tensor
        (B, M, \*S), before softmax.
    regions : RegionIndex
        Built for pixels (B, \*S).
    uniformer : {"squared", "cross_entropy"}
        What the spread is: the mean squared distance to the descriptor, or the mean cross-entropy
        to the detached descriptor.

    Returns
    -------
    tuple of Tensor
        float32, or float64 for float64 logits.
    """
    flat = logits.movedim(1, -1).reshape(-1, logits.shape[1])
    index = regions.index.reshape(-1)
    kept = index >= 0
    logs = flat[kept].to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)
    index, soft = index[kept], logs.exp()
    zeros = soft.new_zeros((regions.count.numel(), soft.shape[1]))
    size = regions.count.to(soft.dtype)
    descriptors = zeros.index_add(0, index, soft) / size[:, None]
    if uniformer == "squared":
        per_pixel = (soft - descriptors[index]).square().sum(1)
    else:
        per_pixel = -(descriptors.detach()[index] * logs).sum(1)
    return descriptors, zeros[:, 0].index_add(0, index, per_pixel) / size
