"""What every network here has in common: channels in, channels out, stride, halo."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from napari_cas.errors import ImageError


class SegmentationModel(nn.Module, abc.ABC):
    """A network from an image on the 0–255 scale to M logits per pixel.

    Parameters
    ----------
    in_channels : int
        Image channels C.
    channels : int
        Softmax channels M.

    Attributes
    ----------
    mixing : Tensor
        Shape (3, C), float32: how the image's channels make the three that a pretrained backbone
        expects. One channel is repeated, of two the mean becomes the third, three stay as they are;
        for more, the engine sets the first three principal components of the painted images.
    offset : Tensor
        Shape (3,), float32, added after mixing, on the 0–255 scale.
    stride : int
        Tiles must start at multiples of this, so that tiled and whole predictions agree.
    halo : int
        Context in pixels, a multiple of `stride`, beyond which an output pixel hardly depends on
        the input.
    stretch : float
        Planes of up to so many tiles a side are predicted in one go.
    learning_rate : float
        Default step size of Adam.
    context : int
        Neighbouring planes on each side whose features join those of the plane (2.5-D).
    stacked : int
        Neighbouring planes on each side that come as further channels of the input instead:
        `in_channels` counts those of all planes.
    """

    stride: int = 32
    halo: int = 96
    stretch: float = 1.5
    learning_rate: float = 1e-3
    context: int = 0
    stacked: int = 0
    mixing: Tensor
    offset: Tensor

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.register_buffer("mixing", default_mixing(in_channels))
        self.register_buffer("offset", torch.zeros(3))

    @abc.abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, M, H, W) of an image (B, C, H, W), float32 on the 0–255 scale."""

    @property
    def known(self) -> tuple[int, ...]:
        """The channels, counted from 1, that something is in; none where that is not known."""
        return ()

    @abc.abstractmethod
    def learned(self) -> dict[str, Tensor]:
        """Return the named tensors that a checkpoint must hold, the optimiser's apart."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """Return the optimiser's groups: "params", and "pace", a factor on the learning rate."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "pace": 1.0}]

    def load_learned(self, tensors: dict[str, Tensor]) -> None:
        """Copy what :meth:`learned` returned into this network.

        Raises
        ------
        KeyError
            If a tensor is missing.
        RuntimeError
            If a tensor has another shape.
        """
        own = self.learned()
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])

    def to_rgb(self, image: Tensor) -> Tensor:
        """Mix the channels of (B, C, H, W) into the (B, 3, H, W) that a backbone expects."""
        if image.ndim != 4 or image.shape[1] != self.in_channels:
            raise ImageError(
                "The image does not fit the network",
                expected=f"shape (B, {self.in_channels}, H, W)",
                got=f"{tuple(image.shape)}",
                todo="Use images with as many channels as those the network was made for.",
            )
        if self.in_channels == 3 and torch.equal(self.mixing, torch.eye(3).to(self.mixing)):
            return image
        mixed = torch.einsum("kc,bchw->bkhw", self.mixing, image)
        return mixed + self.offset[:, None, None]


def default_mixing(in_channels: int) -> Tensor:
    """Return the (3, C) matrix from image channels to a backbone's three."""
    if in_channels == 1:
        return torch.ones(3, 1)
    if in_channels == 2:
        return torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    return torch.eye(3, in_channels)


def pad_to_stride(image: Tensor, stride: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples of `stride`."""
    height, width = image.shape[-2:]
    below, right = -height % stride, -width % stride
    return F.pad(image, (0, right, 0, below), mode="replicate") if below or right else image
