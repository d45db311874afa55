"""Means over a window in place of means over all that a network is shown."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

WINDOW = 256
"""Side of the window in pixels of the image: that of a training crop by default."""
_PROBE = 32
_AT_ONCE = 64


class LocalMean(nn.Module):
    """The mean over a window around each position of a map [1]_.

    Near the border of the map the window is moved onto it, so that it is as large as elsewhere. In
    a direction in which the map is no longer than the window, all of it counts; where that is so in
    both, this is `torch.nn.AdaptiveAvgPool2d(1)`.

    Parameters
    ----------
    window : int
        Side of the window, in positions of the map.

    References
    ----------
    .. [1] Chu et al., "Improving image restoration by revisiting global information aggregation",
       ECCV 2022.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, maps: Tensor) -> Tensor:
        """Return means (B, C, h, w) of maps (B, C, h, w), or (B, C, 1, 1) where all counts."""
        if max(maps.shape[-2:]) <= self.window:
            return F.adaptive_avg_pool2d(maps, 1)
        # A few channels at a time: sums of all would be the most memory that a network takes.
        return torch.cat(
            [local_mean(part, self.window) for part in torch.split(maps, _AT_ONCE, 1)], 1
        )


class ProjectedMean(nn.Conv2d):
    """A convolution by 1 × 1 of means over a window: of large maps, the means come last.

    Both are linear, so their order does not matter. DeepLabV3 takes 256 channels from means of
    2048: of large maps these would be the most memory that the network takes.

    Parameters
    ----------
    conv : Conv2d
        Of kernel size 1; its tensors are shared.
    window : int
        Side of the window, in positions of the map.
    """

    def __init__(self, conv: nn.Conv2d, window: int) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 1, bias=conv.bias is not None)
        self.weight, self.bias = conv.weight, conv.bias
        self.mean = LocalMean(window)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C', h, w) from maps (B, C, h, w), or (B, C', 1, 1) where all counts."""
        if max(maps.shape[-2:]) <= self.mean.window:
            return super().forward(self.mean(maps))
        means: Tensor = self.mean(super().forward(maps))
        return means


def local_mean(maps: Tensor, window: int) -> Tensor:
    """Return means (B, C, h, w) over windows of maps (B, C, h, w); see :class:`LocalMean`."""
    rows, columns = (min(length, window) for length in maps.shape[-2:])
    # Running sums: as fast for any window, and faster than `avg_pool2d` for large ones.
    sums = F.pad(maps.cumsum(-2), (0, 0, 1, 0))
    means = (sums[..., rows:, :] - sums[..., :-rows, :]) / rows
    sums = F.pad(means.cumsum(-1), (1, 0))
    means = (sums[..., columns:] - sums[..., :-columns]) / columns
    left, above = columns // 2, rows // 2
    missing = (left, columns - 1 - left, above, rows - 1 - above)
    return F.pad(means, missing, mode="replicate")


def localise(net: nn.Module, window: int = WINDOW) -> None:
    """Replace all means over everything that a network is shown by means over a window, in place.

    Parameters
    ----------
    net : Module
        In evaluation mode; its `AdaptiveAvgPool2d` modules, each of output size 1, are replaced.
        These have no weights, so checkpoints fit as before.
    window : int
        Side of the window in pixels, a multiple of all strides at which there is a mean.
    """
    pools = {n: m for n, m in net.named_modules() if isinstance(m, nn.AdaptiveAvgPool2d)}
    sides: dict[str, int] = {}

    def look(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sides[name] = inputs[0].shape[-1]

    hooks = [m.register_forward_pre_hook(partial(look, n)) for n, m in pools.items()]
    with torch.no_grad():
        net(torch.zeros(1, 3, _PROBE, _PROBE))
    for hook in hooks:
        hook.remove()
    for name, side in sides.items():
        _replace(net, name, window * side // _PROBE)


def _replace(net: nn.Module, name: str, window: int) -> None:
    """Put a mean over a window in a module's place, after the convolution that follows if any."""
    parent, _, number = name.rpartition(".")
    sequence = net.get_submodule(parent)
    after = sequence[int(number) + 1] if isinstance(sequence, nn.Sequential) else None
    if isinstance(after, nn.Conv2d) and after.kernel_size == (1, 1):
        net.set_submodule(name, nn.Identity())
        net.set_submodule(f"{parent}.{int(number) + 1}", ProjectedMean(after, window))
    else:
        net.set_submodule(name, LocalMean(window))
