"""Statistics of the softmax vectors of each region: the only part of the loss that sees pixels."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, cast

import torch

from napari_cas.losses.portable import RegionMoments

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cas.losses.regions import RegionIndex


def region_moments(logits: Tensor, regions: RegionIndex, uniformer: str) -> tuple[Tensor, Tensor]:
    r"""Return descriptors (R, M) and spread (R,) of every region.

    The spread needs no second pass over the pixels: ``E‖s - ŝ‖² = E‖s‖² - ‖ŝ‖²``, and the
    cross-entropy to the descriptor is ``-⟨ŝ, E[log s]⟩``. The first form cancels; with sums in
    float64 its error stays at the rounding of the float32 softmax, about 1e-7 absolute.

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
        float64 (float32 on MPS, which has no float64); differentiable once.
    """
    if uniformer == "cross_entropy":
        means, logs = _moments(logits, regions, logarithms=True)
        return means, -(means.detach() * logs).sum(1)
    means, squares = _moments(logits, regions, logarithms=False)
    return means, squares - means.square().sum(1)


def region_log_means(logits: Tensor, regions: RegionIndex) -> Tensor:
    r"""Return the mean log-softmax (R, M) of every region; parameters as :func:`region_moments`."""
    return _moments(logits, regions, logarithms=True)[1]


def _moments(logits: Tensor, regions: RegionIndex, *, logarithms: bool) -> tuple[Tensor, Tensor]:
    # Triton launches on the current device, wherever its arguments lie; backward autograd sets it.
    with torch.cuda.device(logits.device) if logits.is_cuda else nullcontext():
        function = _function(logits)
        found = function.apply(logits, regions.index, regions.count, logarithms)
    return cast("tuple[Tensor, Tensor]", found)


def _function(logits: Tensor) -> type[torch.autograd.Function]:
    """Return the implementation that suits the device, the dtype and the number of channels."""
    # Atomic additions come in any order, and the last bits with them.
    if torch.are_deterministic_algorithms_enabled():
        return RegionMoments
    if logits.is_cuda and logits.dtype != torch.float64 and _fused_works(logits.device):
        from napari_cas.losses import fused

        if logits.shape[1] <= fused.MOST_CHANNELS:
            return fused.FusedMoments
    return RegionMoments


@cache
def _fused_works(device: torch.device) -> bool:
    """Try the fused kernel on ``device``: Triton may be missing, or miss a compiler or this GPU."""
    try:
        from napari_cas.losses import fused

        index = torch.zeros(1, 1, dtype=torch.int32, device=device)
        count = torch.ones(1, dtype=torch.int64, device=device)
        logits = torch.zeros(1, 2, 1, device=device, requires_grad=True)
        with torch.enable_grad():
            means, squares = fused.FusedMoments.apply(logits, index, count, False)
            torch.autograd.grad(means.sum() + squares.sum(), logits)
    except torch.OutOfMemoryError:
        raise  # says nothing about the kernel, and is not remembered
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        warnings.warn(
            f"The fused loss kernel does not run on {device} ({reason}); the slower portable loss "
            "is used. The results are the same.",
            stacklevel=2,
        )
        return False
    return True
