"""Torchvision's segmentation networks with M channels, fine-tuned whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_cas.models.base import SegmentationModel, pad_to_stride
from napari_cas.models.norms import normalise_in_place
from napari_cas.models.pooling import localise
from napari_cas.models.recompute import recompute
from napari_cas.models.weights import (
    DOWNLOAD_ERRORS,
    load_fitting,
    offline_error,
    read_weights,
)

if TYPE_CHECKING:
    from napari_cas.config import ModelName

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_HALOS = {
    "lraspp_mobilenet_v3_large": 288,
    "fcn_resnet50": 256,
    "fcn_resnet101": 320,
    "deeplabv3_resnet50": 480,
    "deeplabv3_resnet101": 608,
}


class WholeModel(SegmentationModel):
    """FCN [1]_ or DeepLabV3 [2]_ on a ResNet, or LR-ASPP [3]_ on MobileNetV3.

    Parameters
    ----------
    name : str
        Name of torchvision's builder.
    in_channels, channels : int
        Image channels C, softmax channels M.
    weights : str
        'default': torchvision's weights, trained on COCO with VOC labels, downloaded once; the last
        layer starts at random because its channels mean something else here. 'none': all random.
        Or a file.
    context : int
        Neighbouring planes on each side that become further channels of the input.

    Attributes
    ----------
    halo : int
        Pixels of context around a tile: 288 for LR-ASPP, 256 and 320 for FCN on ResNet-50 and 101,
        480 and 608 for DeepLabV3 on them.

    Notes
    -----
    DeepLabV3 and LR-ASPP were published with means over all that they are shown. Then no context
    makes tiles equal to one go, so here they are means over a window of 256 pixels (see
    :class:`~napari_cas.models.pooling.LocalMean`): on larger images they see what they saw in
    training crops of the default size, on smaller ones the two are the same.

    So the reach of a pixel is limited: 228 pixels for FCN on ResNet-50, 500 on ResNet-101; 516 and
    788 for DeepLabV3, whose dilated convolutions alone reach 288; much more for LR-ASPP, which has
    nine such means in a row. Far pixels count for little, so the context is that at which random
    weights, whose channels are nearly equally probable, label at most 0.1 % of the pixels
    differently than one go (docs/results/tiles.md, also on why overlaps are cut and not blended);
    for FCN on ResNet-50, all of the reach. Context costs time: at the default tile size the
    networks see 4 (FCN) to 11 times (DeepLabV3 on ResNet-101) the pixels that they label, less with
    larger tiles. Planes of up to two tiles a side are predicted in one go.

    References
    ----------
    .. [1] Long et al., "Fully convolutional networks for semantic segmentation", CVPR 2015.
    .. [2] Chen et al., "Rethinking atrous convolution for semantic image segmentation", 2017.
    .. [3] Howard et al., "Searching for MobileNetV3", ICCV 2019.
    """

    stride = 32
    stretch = 2.0
    learning_rate = 1e-4

    def __init__(
        self,
        name: ModelName,
        in_channels: int,
        channels: int,
        weights: str = "default",
        context: int = 0,
    ) -> None:
        super().__init__(in_channels * (2 * context + 1), channels)
        self.stacked = context
        self.halo = _HALOS[name]
        self.net = _build(name, channels, weights)
        self._pretrained = weights != "none"

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, M, H, W) of an image (B, C, H, W) on the 0–255 scale."""
        height, width = image.shape[-2:]
        rgb = pad_to_stride(self.to_rgb(image), self.stride) / 255.0
        mean = torch.tensor(_IMAGENET_MEAN, device=rgb.device)[:, None, None]
        deviation = torch.tensor(_IMAGENET_DEVIATION, device=rgb.device)[:, None, None]
        rgb = (rgb - mean) / deviation
        if rgb.device.type == "cpu":
            # What convolutions on a CPU ask for: else each makes a copy of what it takes and gives.
            rgb = rgb.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.net(rgb)["out"]
        return logits[..., :height, :width]

    def learned(self) -> dict[str, Tensor]:
        """Return all tensors of the network."""
        return self.state_dict()

    def parameter_groups(self) -> list[dict[str, object]]:
        """Let layers that start at random learn ten times as fast as pretrained ones."""
        fresh = [p for n, p in self.net.named_parameters() if n.startswith("classifier")]
        deep = [p for n, p in self.net.named_parameters() if not n.startswith("classifier")]
        return [{"params": deep, "pace": 1.0}, {"params": fresh, "pace": 10.0}]

    def train(self, mode: bool = True) -> WholeModel:
        """Switch dropout and, for random weights, batch normalisation.

        The statistics of a few crops would spoil those of pretrained weights; and a pooled feature
        of one pixel has none at all.
        """
        super().train(mode)
        for name, module in self.net.named_modules():
            pooled = name.startswith("classifier.0.convs.4")
            if isinstance(module, nn.BatchNorm2d) and (self._pretrained or pooled):
                module.eval()
        return self


def _build(name: ModelName, channels: int, weights: str) -> nn.Module:
    """Build torchvision's network and load what fits."""
    from torchvision.models import get_model, get_model_weights

    net: nn.Module = get_model(
        name, weights=None, weights_backbone=None, num_classes=channels, **_options(name)
    )
    if weights == "default":
        try:
            found: Any = get_model_weights(name).DEFAULT.get_state_dict(
                progress=False, check_hash=True
            )
        except DOWNLOAD_ERRORS as error:
            raise offline_error(name, error) from error
        load_fitting(net, found, f"torchvision's {name}")
    elif weights != "none":
        load_fitting(net, read_weights(weights), weights)
    localise(net.eval())
    normalise_in_place(net)
    if not name.startswith("lraspp"):  # MobileNetV3 holds little
        recompute(net, [f"backbone.layer{stage}" for stage in (1, 2, 3)])
    return net


def _options(name: str) -> dict[str, bool]:
    """Leave out the auxiliary classifiers: they would be trained for nothing."""
    return {} if name.startswith("lraspp") else {"aux_loss": False}
