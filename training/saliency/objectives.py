"""The losses that are compared, behind one call: network output and region ids in, a scalar out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cas.losses import cas_loss
from napari_cas.losses.baselines import (
    cace_loss,
    discriminative_loss,
    magnet_loss,
    named_cross_entropy,
    triplet_loss,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from training.saliency.recipe import LossName, Recipe

BASELINES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": named_cross_entropy,
    "cace": cace_loss,
    "discriminative": discriminative_loss,
    "triplet": triplet_loss,
    "magnet": magnet_loss,
}
"""What CAS is compared with, at its own defaults."""

EMBEDDINGS: tuple[LossName, ...] = ("discriminative", "triplet", "magnet")
"""Losses whose output is read by clustering."""


@dataclass(frozen=True)
class Objective:
    """A loss on the output of a network.

    Attributes
    ----------
    name : str
        For the log.
    loss : callable
        From (B, M, H, W) outputs and (B, H, W) int64 region ids to a scalar. Only cross-entropy
        takes the ids' values for classes.
    embeds : bool
        Whether the output is an embedding, to be read by clustering, rather than logits.
    """

    name: LossName
    loss: Callable[[Tensor, Tensor], Tensor]
    embeds: bool

    def __call__(self, output: Tensor, ids: Tensor) -> Tensor:
        """Return the scalar loss."""
        return self.loss(output, ids)


def create_objective(recipe: Recipe, *, pre: bool = False) -> Objective:
    """Return the loss of a recipe, or cross-entropy for the epochs before it."""
    name: LossName = "cross_entropy" if pre else recipe.loss
    if name in BASELINES:
        return Objective(name, BASELINES[name], name in EMBEDDINGS)

    def loss(output: Tensor, ids: Tensor) -> Tensor:
        return cas_loss(
            output,
            ids,
            alpha=recipe.alpha,
            discriminator=recipe.discriminator,
            uniformer=recipe.uniformer,
        )

    return Objective(name, loss, embeds=False)
