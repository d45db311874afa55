"""Feature pyramids on one nested grid, so that tiles fit together to the last bit.

TensorFlow's "same" padding, which EfficientNet-Lite was trained with, puts cell i of stride s on
pixel s·i + s − 1 and not on the centre of its block. The grids of all strides are therefore nested,
and bilinear interpolation by steps of two equals bilinear interpolation in one go. A level of a
tile of height h carries h/s + 1 rows: one before the tile, which the first pixels need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

STRIDES = (1, 2, 4, 8, 16)

Pyramid: TypeAlias = tuple[Tensor, ...]
"""One tensor per stride of `STRIDES`: (B, C_s, H/s + 1, W/s + 1), the first row and column before
the tile."""


class Window(NamedTuple):
    """Part of a padded image in pixels; all four are multiples of the largest stride."""

    y0: int
    x0: int
    y1: int
    x1: int


def with_margin(levels: Sequence[Sequence[Tensor]], window: Window) -> Pyramid:
    """Cut `window` out of the levels of a larger image, with one row and column before it.

    Parameters
    ----------
    levels : sequence of sequences of Tensor
        Per stride of `STRIDES`, tensors (B, C_i, H/s, W/s) whose channels are put together here:
        the finest level alone is tens of megabytes, which should be copied only once.
    window : Window
        What to keep.
    """
    return tuple(_cut(parts, s, window) for parts, s in zip(levels, STRIDES, strict=True))


def _cut(parts: Sequence[Tensor], stride: int, window: Window) -> Tensor:
    y0, x0, y1, x1 = (v // stride for v in window)
    channels = [part.shape[1] for part in parts]
    out = parts[0].new_empty(len(parts[0]), sum(channels), y1 - y0 + 1, x1 - x0 + 1)
    down, right = int(y0 == 0), int(x0 == 0)  # at the image's border there is nothing before it
    for target, part in zip(torch.split(out, channels, 1), parts, strict=True):
        target[..., down:, right:] = part[..., y0 + down - 1 : y1, x0 + right - 1 : x1]
    if down:
        out[..., 0, :] = out[..., 1, :]
    if right:
        out[..., 0] = out[..., 1]
    return out


def crop(pyramid: Pyramid, window: Window) -> Pyramid:
    """Cut `window`, relative to the pyramid's own tile, out of a pyramid (views, no copies)."""
    return tuple(
        level[..., window.y0 // s : window.y1 // s + 1, window.x0 // s : window.x1 // s + 1]
        for level, s in zip(pyramid, STRIDES, strict=True)
    )


def double(level: Tensor) -> Tensor:
    """Interpolate a level with its margin to twice the resolution, again with its margin."""
    height, width = level.shape[-2] - 1, level.shape[-1] - 1
    return F.interpolate(
        level, size=(2 * height + 1, 2 * width + 1), mode="bilinear", align_corners=True
    )


def enlarged(image: Tensor, times: int) -> Tensor:
    """Interpolate an image (B, C, H, W) to so many times its size, on the same nested grid.

    Pixel p of the image is pixel times·p + times − 1: what lies at a stride of the enlarged image
    lies, on the image itself, at a stride that is as many times smaller.
    """
    if times == 1:
        return image
    height, width = (times * n + 1 for n in image.shape[-2:])
    with_margin = F.pad(image, (1, 0, 1, 0), mode="replicate")
    large = F.interpolate(with_margin, size=(height, width), mode="bilinear", align_corners=True)
    return large[..., 1:, 1:]


def turn_back(level: Tensor, stride: int) -> Tensor:
    """Return a level of an image that was turned by half as one of the image itself.

    Parameters
    ----------
    level : Tensor
        (B, C, H/s, W/s), without margin.
    stride : int
        s. Turned back, cell i lies on pixel s·i and not on s·i + s − 1, so it is interpolated from
        there; behind the last cell it is repeated.
    """
    found = level.flip(-2, -1)
    for axis in (-2, -1):
        length = found.shape[axis] - 1
        after = torch.cat([found.narrow(axis, 1, length), found.narrow(axis, length, 1)], axis)
        found = torch.lerp(found, after, 1 - 1 / stride)
    return found


def indices(
    y: NDArray[np.intp], x: NDArray[np.intp], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return rows and columns as :func:`gather` takes them."""
    return torch.from_numpy(y).to(device), torch.from_numpy(x).to(device)


def gather(pyramid: Pyramid, y: Tensor, x: Tensor) -> Tensor:
    """Interpolate all levels at pixels.

    Parameters
    ----------
    pyramid : Pyramid
        Of one tile, batch size 1.
    y, x : Tensor
        Shape (P,), int64, pixels relative to the tile.

    Returns
    -------
    Tensor
        (P, D) features, D the sum of all levels' channels.
    """
    return torch.cat(
        [_gather_level(level[0], s, y, x) for level, s in zip(pyramid, STRIDES, strict=True)], dim=1
    )


def _gather_level(level: Tensor, stride: int, y: Tensor, x: Tensor) -> Tensor:
    """Interpolate one level (C, h + 1, w + 1) at pixels, as :func:`double` repeated would."""
    # Pixel p lies at (p + 1)/s on the grid whose cell 0 is the margin, on pixel −1.
    row, column = (y + 1) // stride, (x + 1) // stride
    fy = ((y + 1) % stride).to(level.dtype) / stride
    fx = ((x + 1) % stride).to(level.dtype) / stride
    row2 = (row + 1).clamp(max=level.shape[1] - 1)
    column2 = (column + 1).clamp(max=level.shape[2] - 1)
    if stride == 1:
        return _at(level, row, column).T
    above = torch.lerp(_at(level, row, column), _at(level, row, column2), fx)
    below = torch.lerp(_at(level, row2, column), _at(level, row2, column2), fx)
    return torch.lerp(above, below, fy).T


def _at(level: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return (C, P) values; on a CPU faster than indexing with both."""
    return level.flatten(1).index_select(1, row * level.shape[2] + column)
