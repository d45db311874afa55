"""Batch normalisation that needs no memory beside its input where nothing is learnt."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FrugalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that overwrites its input in evaluation mode, without gradients.

    Of the maps (B, C, h, w) that a network holds while it predicts, the output of a normalisation
    beside its input is a third. The input must be of no more use to anybody: that of a convolution
    is not.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return normalised maps (B, C, h, w): where possible `maps` themselves, changed."""
        mean, variance = self.running_mean, self.running_var
        if self.training or torch.is_grad_enabled() or mean is None or variance is None:
            return super().forward(maps)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None, None], maps, scale[:, None, None], out=maps)


def normalise_in_place(net: nn.Module) -> None:
    """Replace all batch normalisations of a network by frugal ones, tensors kept, in place.

    Parameters
    ----------
    net : Module
        Whose normalisations all follow convolutions, as those of torchvision's networks do. Names
        in its state dict stay as they are.
    """
    for name, module in list(net.named_modules()):
        if type(module) is nn.BatchNorm2d:
            frugal = FrugalBatchNorm2d(module.num_features, module.eps, module.momentum)
            frugal.load_state_dict(module.state_dict())
            net.set_submodule(name, frugal.train(module.training))
