"""What the class-agnostic loss is compared with, on the same networks.

The first three work on logits and need ids to mean something, or search for what they might mean;
the last three work on pixel embeddings, whose segments are read out by clustering.
"""

from napari_cas.losses.baselines.assignment import (
    AssignedCrossEntropy,
    CACELoss,
    assigned_cross_entropy,
    cace_loss,
)
from napari_cas.losses.baselines.discriminative import DiscriminativeLoss, discriminative_loss
from napari_cas.losses.baselines.magnet import MagnetLoss, magnet_loss
from napari_cas.losses.baselines.named import NamedCrossEntropy, named_cross_entropy
from napari_cas.losses.baselines.triplet import TripletLoss, triplet_loss

__all__ = [
    "AssignedCrossEntropy",
    "CACELoss",
    "DiscriminativeLoss",
    "MagnetLoss",
    "NamedCrossEntropy",
    "TripletLoss",
    "assigned_cross_entropy",
    "cace_loss",
    "discriminative_loss",
    "magnet_loss",
    "named_cross_entropy",
    "triplet_loss",
]
