"""Statistics of the softmax vectors of each region: the only part of the loss that sees pixels."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, cast

import torch

from napari_cas.losses.portable import RegionMoments
from napari_cas.losses.regions import index_regions

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cas.losses.regions import RegionIndex

MOST_FUSED_CHANNELS = 256
"""More channels than this do not fit the registers with a useful number of pixels."""


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
        function = _function(logits, logarithms=logarithms)
        found = function.apply(logits, regions.index, regions.count, logarithms)
    return cast("tuple[Tensor, Tensor]", found)


def _function(logits: Tensor, *, logarithms: bool) -> type[torch.autograd.Function]:
    """Return the implementation that suits the device, the dtype and the number of channels."""
    # Atomic additions come in any order, and the last bits with them.
    if torch.are_deterministic_algorithms_enabled():
        return RegionMoments
    channels = logits.shape[1]
    if not logits.is_cuda or logits.dtype == torch.float64 or channels > MOST_FUSED_CHANNELS:
        return RegionMoments
    if not _fused_works(logits.device, logits.dtype, channels, logarithms):
        return RegionMoments
    from napari_cas.losses.fused import FusedMoments

    return FusedMoments


@cache
def _fused_works(device: torch.device, dtype: torch.dtype, channels: int, logarithms: bool) -> bool:
    """Try the fused kernel once in each form, for each is compiled by itself.

    Triton may be missing, or miss a compiler or this GPU, or make of the kernel what is wrong.
    """
    try:
        from napari_cas.losses import fused

        worst = _difference(fused.FusedMoments, device, dtype, channels, logarithms)
        if worst < (1e-4 if dtype == torch.float32 else 1e-2):
            return True
        reason = f"its results differ by {worst:.1g}"
    except torch.OutOfMemoryError:
        raise  # says nothing about the kernel, and is not remembered
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    _say_slower(device, reason)
    return False


@cache
def _say_slower(device: torch.device, reason: str) -> None:
    """Say it once for all forms of the kernel that fail alike."""
    warnings.warn(
        f"The fused loss kernel does not run on {device} ({reason}); the slower portable loss "
        "is used. The results are the same.",
        stacklevel=2,
    )


def _difference(
    function: type[torch.autograd.Function],
    device: torch.device,
    dtype: torch.dtype,
    channels: int,
    logarithms: bool,
) -> float:
    """Return how far a function's statistics and gradient are from the portable ones, relatively.

    On two images with long regions and confetti. Draws nothing: a seeded run stays the same.
    """
    results = []
    # Whoever comes first may be in either mode, and what is found holds for all.
    with torch.inference_mode(False), torch.enable_grad():
        pixel = torch.arange(2048, device=device)
        ids = torch.where(pixel % 1024 < 512, pixel // 50 + 1, pixel % 37)
        regions = index_regions(ids.view(2, 1024))
        # Values that any dtype holds.
        logits = (torch.arange(2048 * channels, device=device) % 23).view(2, channels, 1024) / 4
        for form, kind in ((function, dtype), (RegionMoments, torch.float32)):
            leaf = logits.to(kind, copy=True).requires_grad_()
            means, second = form.apply(leaf, regions.index, regions.count, logarithms)
            weights = torch.linspace(-1, 1, means.numel(), device=device).view_as(means)
            (grad,) = torch.autograd.grad((means * weights).sum() + second.sum(), leaf)
            results.append([found.detach().float() for found in (means, second, grad)])
        errors = [
            (one - other).abs().max() / other.abs().max().clamp(min=1e-2)
            for one, other in zip(*results, strict=True)
        ]
        return float(torch.stack(errors).max())  # NaN if one is
