"""Probabilities that follow the edges of the image: a guided filter on a coarse grid.

Within each window, every channel's probability is fitted by an affine function of the image's
colours, and the fits of all windows over a pixel are averaged [1]_. Noise inside an area averages
out; where the image has an edge, so has the result. The coefficients vary slowly, so they are
computed on blocks of pixels and interpolated [2]_, which makes the cost small beside the network's.
Unlike there, blocks are averaged after pixels were multiplied, not before: colours' noise then
counts as what it is, and so do lines narrower than a block.

Powers of the brightness are colours, too. What is between dark and bright, as grey matter is
between fluid and white matter, has a probability that goes up and down again with brightness, which
no affine function does.

Not all borders are edges: between two textures, colours vary as much within either as across, and
a fit to colours takes one's dark spots for the other. How much of what varies the colours explain,
the fit itself says; where that is next to nothing, windows are small.

What it is worth on real images: `python -m training bench ablation`, docs/label-free.md.

References
----------
.. [1] He, Sun, Tang, "Guided image filtering", IEEE TPAMI 35(6), 2013.
.. [2] He, Sun, "Fast guided filter", arXiv:1505.00996, 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

BLOCK = 4
RADIUS = 5
SMALL_RADIUS = 2
EPSILON = 1e-3
UNEXPLAINED = (0.7, 0.9)
"""Share of the variance that colours leave unexplained: windows shrink from here to there."""

REACH = 64
"""No pixel depends on others further away than this: twice the window's radius and a block."""

_LEAST = 1e-4

_CURVES = {1: (0.5, 0.5)}
"""Weights of the brightness's second and further powers, for a guide of so many colours."""

_CURVE = (1.0,)
"""The same for any other guide. A small weight has a power used only where it explains much."""


def follow_edges(probabilities: Tensor, guide: Tensor) -> Tensor:
    """Smooth probabilities within areas, not across edges.

    Parameters
    ----------
    probabilities : Tensor
        (M, H / s, W / s) at every s-th pixel, the last of each s × s; s is 1 or 2. Blocks are
        averaged anyway: from a quarter of the pixels, 0.3 % of the labels differ.
    guide : Tensor
        (G, H, W), the image with 0 to 1 as its usual range; height and width multiples of `BLOCK`.

    Returns
    -------
    Tensor
        (M, H, W), not negative, summing to one over M.
    """
    guide = with_powers(guide)
    step = guide.shape[-1] // probabilities.shape[-1]
    # The same pixels of both, so that the fit is consistent.
    products = _products(guide[:, step - 1 :: step, step - 1 :: step], probabilities)
    coarse = F.avg_pool2d(products[None], BLOCK // step)[0]
    return as_probabilities(evaluate(_coefficients(coarse, len(guide), len(probabilities)), guide))


def with_powers(guide: Tensor) -> Tensor:
    """Return a guide (G, H, W) and, behind it, powers of its brightness."""
    brightness = guide.mean(0, keepdim=True)
    weights = _CURVES.get(len(guide), _CURVE)
    powers = [weight * brightness**power for power, weight in enumerate(weights, start=2)]
    return torch.cat([guide, *powers])


def evaluate(coefficients: Tensor, guide: Tensor) -> Tensor:
    """Return (M, H, W) what coefficients of blocks (G M + M, h, w) say of a guide (G, H, W)."""
    channels = len(coefficients) // (len(guide) + 1)
    fine = F.interpolate(
        coefficients[None], scale_factor=BLOCK, mode="bilinear", align_corners=False
    )[0]
    slopes = fine[:-channels].reshape(len(guide), channels, *guide.shape[1:])
    values = fine[-channels:]
    for slope, colour in zip(slopes, guide, strict=True):  # an einsum takes five times as long
        values.addcmul_(slope, colour)
    return values


def as_probabilities(values: Tensor) -> Tensor:
    """Return values (M, H, W), changed in place, without what is negative, summing to one."""
    values = values.clamp_(min=0)
    return values.div_(values.sum(0, keepdim=True).clamp(min=1e-6))


def fit(means: Tensor, guides: int, channels: int) -> tuple[Tensor, Tensor]:
    """Fit M values by affine functions of a guide of G channels in windows.

    Parameters
    ----------
    means : Tensor
        (N, h, w): means over windows of guide, values, all products of two guides, and all of guide
        and value.
    guides, channels : int
        G and M.

    Returns
    -------
    coefficients : Tensor
        (G M + M, h, w) slopes, then levels.
    explained : Tensor
        (h, w) variance of the values that the fit accounts for.
    """
    size = means.shape[1:]
    sizes = [guides, channels, guides * guides, guides * channels]
    mean, level, square, product = torch.split(means, sizes)
    covariance = square.view(guides, guides, *size) - mean[:, None] * mean[None]
    common = product.view(guides, channels, *size) - mean[:, None] * level[None]
    ridge = EPSILON * torch.eye(guides, device=means.device, dtype=means.dtype)
    slope = torch.linalg.solve(covariance.permute(2, 3, 0, 1) + ridge, common.permute(2, 3, 0, 1))
    slope = slope.permute(2, 3, 0, 1)
    level = level - torch.einsum("gmhw,ghw->mhw", slope, mean)
    return torch.cat([slope.flatten(0, 1), level]), (slope * common).sum((0, 1))


def window_mean(values: Tensor, radius: int) -> Tensor:
    """Return the mean (N, h, w) over square windows of `radius`, the border repeated."""
    width = 2 * radius + 1
    padded = F.pad(values[None], (radius,) * 4, mode="replicate")[0]
    return _running_sum(_running_sum(padded, 1, width), 2, width) / width**2


def _products(guide: Tensor, values: Tensor) -> Tensor:
    """Return what :func:`_coefficients` needs of each pixel, (N, h, w)."""
    return torch.cat(
        [
            guide,
            values,
            (guide[:, None] * guide[None]).flatten(0, 1),
            (guide[:, None] * values[None]).flatten(0, 1),
            values.square().sum(0, keepdim=True),
        ]
    )


def _coefficients(products: Tensor, guides: int, channels: int) -> Tensor:
    """Return slopes, then levels (G M + M, h, w): means over windows, smaller ones where due."""
    wide, varies, unexplained = _fit(products, guides, channels, RADIUS)
    narrow, *_ = _fit(products, guides, channels, SMALL_RADIUS)
    wide, varies, unexplained = torch.split(
        window_mean(torch.cat([wide, varies[None], unexplained[None]]), RADIUS), [len(wide), 1, 1]
    )
    low, high = UNEXPLAINED
    share = (unexplained / varies.clamp(min=_LEAST) - low) / (high - low)
    return torch.lerp(wide, window_mean(narrow, SMALL_RADIUS), share.clamp(0, 1))


def _fit(
    products: Tensor, guides: int, channels: int, radius: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return coefficients, the variance of values in each window, and what the fit leaves of it."""
    means = window_mean(products, radius)
    coefficients, explained = fit(means[:-1], guides, channels)
    level = means[guides : guides + channels]
    varies = means[-1] - level.square().sum(0)
    return coefficients, varies, varies - explained


def _running_sum(values: Tensor, dim: int, width: int) -> Tensor:
    """Sum so many neighbours along a dimension; an odd number.

    Put together from sums of 1, 2, 4, … neighbours, which takes a sixth of a pooling's time. Unlike
    with a cumulative sum, a result depends on its own neighbours alone: tiles fit together to the
    last bit.
    """
    size = values.shape[dim] - width + 1
    power, length = values, 1
    total, done = power.narrow(dim, 0, size), 1
    while 2 * length <= width:
        kept = power.shape[dim] - length
        power = power.narrow(dim, 0, kept) + power.narrow(dim, length, kept)
        length *= 2
        if width & length:
            total = total + power.narrow(dim, done, size)
            done += length
    return total
