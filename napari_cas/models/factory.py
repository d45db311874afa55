"""One function from a model's specification to the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cas.models.quick import QuickModel
from napari_cas.models.whole import WholeModel

if TYPE_CHECKING:
    from napari_cas.config import ModelSpec
    from napari_cas.models.base import SegmentationModel


def create_model(spec: ModelSpec, in_channels: int = 3, seed: int = 0) -> SegmentationModel:
    """Create the network that `spec` describes, in evaluation mode, on the CPU.

    Parameters
    ----------
    spec : ModelSpec
        Name, number of softmax channels, weights.
    in_channels : int, default 3
        Channels of the images.
    seed : int, default 0
        Seed of the random part of the initial weights; the global generator is left as it was.

    Returns
    -------
    SegmentationModel
        From (B, C, H, W) float32 on the 0–255 scale to (B, M, H, W) logits; C is `in_channels`,
        times the number of planes where neighbouring ones are stacked.

    Raises
    ------
    WeightsError
        If the weights cannot be found, downloaded or fitted to the network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = (
            QuickModel(in_channels, spec.channels, spec.weights, spec.context_planes, spec.enlarge)
            if spec.name == "quick"
            else WholeModel(
                spec.name, in_channels, spec.channels, spec.weights, spec.context_planes
            )
        )
    return model.eval()
