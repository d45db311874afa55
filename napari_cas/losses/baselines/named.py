"""Cross-entropy that takes region ids for class names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_cas.errors import InputError
from napari_cas.losses.checks import check_finite, checked_regions


def named_cross_entropy(logits: Tensor, ids: Tensor, *, ignore_index: int = 0) -> Tensor:
    r"""Return the cross-entropy with id k meaning channel k - 1: ``-mean_x log s_{id(x) - 1}(x)``.

    The yardstick: with true class ids it is ordinary supervised training, with ids drawn anew for
    every image it shows what ignoring their arbitrariness costs.

    Parameters
    ----------
    logits : Tensor
        (B, M, \*S) floating point, before softmax.
    ids : Tensor
        (B, \*S) integers 1..M; ``ignore_index`` where unpainted.
    ignore_index : int
        Id of unpainted pixels.

    Returns
    -------
    Tensor
        Scalar, float32 (float64 for float64 logits); zero where nothing is painted.

    Raises
    ------
    InputError
        Bad shapes, dtypes or devices, an id without a channel, non-finite logits.
    """
    if not isinstance(ids, Tensor):  # regions that were indexed have lost their names
        raise InputError("Ids must be an integer tensor", got=type(ids).__name__)
    found = checked_regions(logits, ids, ignore_index=ignore_index)
    check_finite(logits)
    highest = int(found.ids.max()) if found.ids.numel() else 0
    lowest = int(found.ids.min()) if found.ids.numel() else 1
    if highest > logits.shape[1] or lowest < 1:
        raise InputError(
            "An id has no channel",
            expected=f"ids from 1 to {logits.shape[1]}",
            got=str(highest if highest > logits.shape[1] else lowest),
        )
    target = torch.where(ids == ignore_index, -1, ids.long() - 1)
    # A sum over pixels passes what float16 holds and is coarse in bfloat16.
    full = logits.to(torch.promote_types(logits.dtype, torch.float32))
    total = nn.functional.cross_entropy(full, target, ignore_index=-1, reduction="sum")
    return total / found.count.sum().clamp(min=1)


class NamedCrossEntropy(nn.Module):
    """:func:`named_cross_entropy` as a module."""

    def __init__(self, ignore_index: int = 0) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, ids: Tensor) -> Tensor:
        """Return the scalar loss."""
        return named_cross_entropy(logits, ids, ignore_index=self.ignore_index)
