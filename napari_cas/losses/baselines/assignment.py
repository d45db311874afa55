"""Cross-entropy under the best reading of the ids: every plane picks its own names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from napari_cas.errors import InputError
from napari_cas.losses.checks import check_finite, checked_regions
from napari_cas.losses.eager import uncompiled
from napari_cas.losses.moments import region_log_means
from napari_cas.losses.planes import sum_per_plane

if TYPE_CHECKING:
    from napari_cas.losses.regions import RegionIndex


@uncompiled
def assigned_cross_entropy(
    logits: Tensor,
    regions: Tensor | RegionIndex,
    *,
    planes: Tensor | None = None,
    per_region: bool = False,
    ignore_index: int = 0,
) -> Tensor:
    r"""Return the cross-entropy with each plane's regions assigned to channels at least cost.

    ``mean_p min_σ -(1/Σ n_i) Σ_i Σ_{x in R_i} log s_{σ(i)}(x)`` over the planes p, where σ gives
    every region of a plane a channel of its own; if there are more regions than channels, a channel
    takes up to ⌈N/M⌉ of them. The optimum is found by the Hungarian algorithm [1]_ on the N × M
    sums; the gradient is that of cross-entropy with the ids σ. The same idea for speakers, whose
    order is as arbitrary, is permutation invariant training [2]_.

    Parameters
    ----------
    logits : Tensor
        (B, M, \*S) floating point, before softmax.
    regions : Tensor or RegionIndex
        (B, \*S) integers: painted ids, ``ignore_index`` where unpainted.
    planes : Tensor, optional
        As in :func:`napari_cas.losses.cas_loss`.
    per_region : bool
        Weigh regions alike, whatever their size, instead of pixels.
    ignore_index : int
        Id of unpainted pixels.

    Returns
    -------
    Tensor
        Scalar; zero where nothing is painted.

    Raises
    ------
    InputError
        Bad shapes, dtypes or devices, negative ids, non-finite logits.

    References
    ----------
    .. [1] H. W. Kuhn, "The Hungarian method for the assignment problem", 1955.
    .. [2] D. Yu et al., "Permutation invariant training of deep models for speaker-independent
       multi-talker speech separation", ICASSP 2017.
    """
    found = checked_regions(logits, regions, planes, ignore_index)
    check_finite(logits)
    with torch.autocast(logits.device.type, enabled=False):
        costs = -region_log_means(logits, found)
        weight = torch.ones_like(found.count) if per_region else found.count
        costs = costs * weight[:, None].to(costs.dtype)
        chosen = costs.gather(1, _assign(costs.detach(), found)[:, None])[:, 0]
        total = sum_per_plane(chosen, found) / sum_per_plane(weight.to(costs.dtype), found)
        loss = total.sum() / max(found.n_planes, 1)
    return loss.to(torch.promote_types(logits.dtype, torch.float32))


def cace_loss(
    logits: Tensor,
    regions: Tensor | RegionIndex,
    *,
    planes: Tensor | None = None,
    ignore_index: int = 0,
) -> Tensor:
    """Return the paper's class-agnostic cross-entropy of two regions and two channels.

    ``min(CE(s, y), CE(s, 1 - y))`` per plane: the cheaper of the two ways to call one region object
    and the other background. It is :func:`assigned_cross_entropy` restricted to M = 2, whose
    parameters and return value it shares.

    Raises
    ------
    InputError
        Also if there are not two channels, or more than two regions on a plane.
    """
    found = checked_regions(logits, regions, planes, ignore_index)
    if logits.shape[1] != 2:
        raise InputError("CACE is for two channels", expected="2", got=str(logits.shape[1]))
    if found.widest > 2:
        raise InputError(
            "CACE is for two regions on a plane",
            expected="at most 2",
            got=str(found.widest),
            todo="Use assigned_cross_entropy.",
        )
    return assigned_cross_entropy(logits, found)


class AssignedCrossEntropy(nn.Module):
    """:func:`assigned_cross_entropy` as a module."""

    def __init__(self, *, per_region: bool = False, ignore_index: int = 0) -> None:
        super().__init__()
        self.per_region, self.ignore_index = per_region, ignore_index

    def forward(
        self, logits: Tensor, regions: Tensor | RegionIndex, planes: Tensor | None = None
    ) -> Tensor:
        """Return the scalar loss."""
        return assigned_cross_entropy(
            logits,
            regions,
            planes=planes,
            per_region=self.per_region,
            ignore_index=self.ignore_index,
        )


class CACELoss(nn.Module):
    """:func:`cace_loss` as a module."""

    def __init__(self, ignore_index: int = 0) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(
        self, logits: Tensor, regions: Tensor | RegionIndex, planes: Tensor | None = None
    ) -> Tensor:
        """Return the scalar loss."""
        return cace_loss(logits, regions, planes=planes, ignore_index=self.ignore_index)


def _assign(costs: Tensor, regions: RegionIndex) -> Tensor:
    """Return the cheapest channel (R,) of each region, distinct on a plane as far as possible."""
    table, plane = costs.cpu().numpy(), regions.plane.cpu()
    channels = table.shape[1]
    chosen = torch.empty(len(plane), dtype=torch.int64)
    for number in range(regions.n_planes):
        rows = (plane == number).nonzero()[:, 0]
        own = table[rows.numpy()]
        copies = -(-len(rows) // channels)
        picked, columns = linear_sum_assignment(own.repeat(copies, axis=1))
        chosen[rows[torch.from_numpy(picked)]] = torch.from_numpy(columns // copies)
    return chosen.to(costs.device)
