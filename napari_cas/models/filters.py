"""A fixed multiscale filter bank: Gaussians, gradient magnitudes and Hessian eigenvalues.

The same family of features as scikit-image's `multiscale_basic_features` (intensity, edges,
texture), computed as a pyramid: what is blurred with sigma ≥ s is kept at stride s, because nothing
is lost there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_CENTRE, _UNIT = 127.0, 64.0

MAX_CHANNELS = 8
"""At most this many channels are filtered; more are reduced to means of neighbouring ones."""


class FilterBank(nn.Module):
    """Gaussian, gradient magnitude and both Hessian eigenvalues at sigmas 0.7, 1.4, 2.8, 5.6, 11.2.

    Parameters
    ----------
    in_channels : int
        Image channels C.

    Attributes
    ----------
    widths : tuple of int
        Feature channels at strides 1, 2, 4, 8.
    """

    # (sigma, stride at which the result is kept); each blur starts from the one before.
    scales = ((0.7, 1), (1.4, 1), (2.8, 2), (5.6, 4), (11.2, 8))

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.filtered = min(in_channels, MAX_CHANNELS)
        per_scale = 4 * self.filtered
        # The image itself, and two scales, at full resolution.
        self.widths = (self.filtered + 2 * per_scale, per_scale, per_scale, per_scale)

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        """Filter an image.

        Parameters
        ----------
        image : Tensor
            (B, C, H, W), on the 0–255 scale, height and width multiples of 8.

        Returns
        -------
        list of lists of Tensor
            Features at strides 1, 2, 4, 8, to be put together along dimension 1. Cell i of stride s
            lies on pixel s·i + s − 1.
        """
        base = _reduce((image - _CENTRE) / _UNIT, self.filtered)
        levels: dict[int, list[Tensor]] = {1: [base], 2: [], 4: [], 8: []}
        current, reached, stride = base, 0.0, 1
        for sigma, keep in self.scales:
            while stride < keep:
                current, stride = current[..., 1::2, 1::2], 2 * stride
            step = math.sqrt(sigma**2 - reached**2) / stride
            current, reached = _blur(current, step), sigma
            levels[keep] += _derivatives(current, sigma / stride)
        return [levels[s] for s in (1, 2, 4, 8)]

    def image(self, finest: Tensor) -> Tensor:
        """Return the image (B, C, H, W) from the finest features, 0 to 1 as its usual range."""
        return (finest[:, : self.filtered] * _UNIT + _CENTRE) / 255.0


def _reduce(image: Tensor, channels: int) -> Tensor:
    """Average neighbouring channels until `channels` are left."""
    if image.shape[1] == channels:
        return image
    parts = torch.tensor_split(image, channels, dim=1)
    return torch.cat([part.mean(1, keepdim=True) for part in parts], dim=1)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian of `sigma` pixels, cut at 3 sigma, the border repeated."""
    radius = max(1, math.ceil(3 * sigma))
    at = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = kernel / kernel.sum()
    return _convolve(_convolve(image, kernel.tolist(), 3), kernel.tolist(), 2)


def _convolve(image: Tensor, kernel: list[float], dim: int) -> Tensor:
    """Convolve with a symmetric kernel along a dimension; twice as fast as a one-channel conv2d."""
    radius, size = len(kernel) // 2, image.shape[dim]
    sides = (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius)
    padded = F.pad(image, sides, mode="replicate")
    total = padded.narrow(dim, radius, size) * kernel[radius]
    for i in range(radius):
        total.add_(padded.narrow(dim, i, size), alpha=kernel[i])
        total.add_(padded.narrow(dim, 2 * radius - i, size), alpha=kernel[i])
    return total


def _derivatives(image: Tensor, sigma: float) -> list[Tensor]:
    """Return the image, its gradient magnitude and Hessian eigenvalues, normalised by scale."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    dx, dy = (right - left) / 2, (below - above) / 2
    xx, yy = right + left - 2 * image, below + above - 2 * image
    xy = (
        padded[..., 2:, 2:] + padded[..., :-2, :-2] - padded[..., 2:, :-2] - padded[..., :-2, 2:]
    ) / 4
    mean, half = (xx + yy) / 2, (xx - yy) / 2
    root = torch.sqrt(half**2 + xy**2 + 1e-12)
    gradient = torch.sqrt(dx**2 + dy**2 + 1e-12)
    return [image, gradient * sigma, (mean + root) * sigma**2, (mean - root) * sigma**2]
