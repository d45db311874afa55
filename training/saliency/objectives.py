"""The losses that are compared, behind one call: network output and region ids in, a scalar out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional as nnf

from napari_cas.losses import cas_loss
from training.saliency.labels import BACKGROUND_ID

if TYPE_CHECKING:
    from training.saliency.recipe import Recipe


class Objective(Protocol):
    """A loss on the output of a network.

    Attributes
    ----------
    name : str
        For the log.
    embeds : bool
        Whether the output is an embedding, to be read by clustering, rather than logits.
    """

    name: str
    embeds: bool

    def __call__(self, output: Tensor, ids: Tensor) -> Tensor:
        """Return the scalar loss of (B, M, H, W) outputs and (B, H, W) region ids, 1 or 2."""
        ...


class ClassAgnostic:
    """The class-agnostic segmentation loss; by default Eq. 1, averaged over regions and pairs."""

    embeds = False

    def __init__(self, recipe: Recipe) -> None:
        self.name = "cas"
        self.recipe = recipe

    def __call__(self, output: Tensor, ids: Tensor) -> Tensor:
        """Return the loss; the ids' values play no part."""
        return cas_loss(
            output,
            ids,
            alpha=self.recipe.alpha,
            discriminator=self.recipe.discriminator,
            uniformer=self.recipe.uniformer,
        )


class CrossEntropy:
    """Cross-entropy that takes the ids for classes."""

    embeds = False
    name = "cross_entropy"

    def __call__(self, output: Tensor, ids: Tensor) -> Tensor:
        """Return the mean over all pixels."""
        return nnf.cross_entropy(output.float(), ids - BACKGROUND_ID)


class ClassAgnosticCrossEntropy:
    """CACE, binary: of both assignments of ids to two channels, the cheaper one per image."""

    embeds = False
    name = "cace"

    def __call__(self, output: Tensor, ids: Tensor) -> Tensor:
        """Return the mean over images of the smaller cross-entropy."""
        target = ids - BACKGROUND_ID
        both = [
            nnf.cross_entropy(output.float(), t, reduction="none").mean((1, 2))
            for t in (target, 1 - target)
        ]
        return torch.minimum(*both).mean()


def create_objective(recipe: Recipe, *, pre: bool = False) -> Objective:
    """Return the loss of a recipe, or cross-entropy for the epochs before it."""
    if pre or recipe.loss == "cross_entropy":
        return CrossEntropy()
    if recipe.loss == "cace":
        return ClassAgnosticCrossEntropy()
    return ClassAgnostic(recipe)
