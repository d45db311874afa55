"""How far the deepest features are believed where a single plane is painted.

The deepest level says what a large neighbourhood shows. It hardly changes along a stroke, so that
within strokes it seems almost free of noise, and Fisher's discriminant would follow it whatever it
says: where nuclei of a few pixels were painted, it tells one half of the image from the other.
Where objects fill much of the image, the same level is what tells them from what is around.

Other planes would show which of both is the case, and a single one shows it, too, at the places
that nobody painted. If the deepest features tell the painted kinds apart, labels that follow them
explain more of how they vary all over the plane than labels that do not. If they only tell places
apart, labels that follow other features explain more, even of the deepest ones. So noise is added
to the deepest features, none or some or much, and the labels that explain them best are kept.

What it is worth: docs/label-free.md, "A single image".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

DOUBTS = (0.0, 1.0, 5.0)
"""Noise that is added to each of the deepest features, in units of features' mean noise."""


class Coarse(NamedTuple):
    """What the choice is made from.

    Attributes
    ----------
    deepest : Tensor
        (D,) bool: features of the network's deepest level.
    unpainted : Tensor
        (Q, D) standardised features of random pixels of the plane.
    """

    deepest: Tensor
    unpainted: Tensor


def doubted(noise: Tensor, deepest: Tensor, doubt: float) -> Tensor:
    """Return a noise (D, D) with so much more of it in the deepest features."""
    more = doubt * noise.diagonal().mean() * deepest.to(noise)
    return noise + torch.diag(more)


def most_explained(values: Tensor, logits: Sequence[Tensor]) -> int:
    """Return which logits' labels explain values best; of equal ones, the first.

    Parameters
    ----------
    values : Tensor
        (Q, d) deepest features of random pixels.
    logits : sequence of Tensor
        (Q, K) logits of the same pixels, by several maps.
    """
    explained = [_explained(values.double(), some.argmax(1)) for some in logits]
    return max(range(len(logits)), key=explained.__getitem__)


def _explained(values: Tensor, label: Tensor) -> float:
    """Return how much of values (Q, d) lies between labels (Q,), in the same units for all."""
    number = torch.bincount(label).double()
    sums = values.new_zeros(len(number), values.shape[1]).index_add(0, label, values)
    # The variance between labels, but for mean and total, which are the same whatever the labels.
    return float((sums.square().sum(1) / number.clamp(min=1)).sum())
