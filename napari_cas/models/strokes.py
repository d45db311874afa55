"""Strokes on what was predicted: where it is wrong there, it is wrong nearby, where it looks alike.

A correction says more than its own pixels do, and a network that learns from all images can obey it
but in part. What is missing at painted pixels, one less the probability of what they were painted
as, is therefore spread: within each window it is fitted by an affine function of the image's
colours, as :mod:`napari_cas.models.smoothing` fits probabilities, and the fits of all windows over
a pixel are averaged. Pixels that nobody painted count as right, those painted count many times, and
those that are painted and right hold what is around them. Without a mistake nothing changes.

First in wide windows, which finds all of what was meant; what is left of the mistake then in small
ones. What it is worth: `python -m training bench corrections`, docs/corrections.md.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from napari_cas.models.smoothing import (
    BLOCK,
    RADIUS,
    SMALL_RADIUS,
    as_probabilities,
    evaluate,
    fit,
    window_mean,
    with_powers,
)

PASSES = ((32.0, RADIUS), (16.0, SMALL_RADIUS))
"""How many pixels a painted one counts as, and the radius of windows, in blocks."""


def _reach(radius: int) -> int:
    """Return how many pixels a stroke reaches: windows about windows, and an interpolation."""
    return (2 * radius + 2) * BLOCK


REACH = sum(_reach(radius) for _, radius in PASSES)
"""No pixel depends on others further away than this."""


def follow_strokes(probabilities: Tensor, guide: Tensor, strokes: Tensor) -> Tensor:
    """Return probabilities that are what was painted, and the same around it where it looks alike.

    Parameters
    ----------
    probabilities : Tensor
        (M, H, W) float, summing to one over M.
    guide : Tensor
        (G, H, W), the image with 0 to 1 as its usual range; height and width multiples of `BLOCK`.
    strokes : Tensor
        (H, W) integers: the painted channel plus one, 0 where nothing is painted.

    Returns
    -------
    Tensor
        (M, H, W), not negative, summing to one over M; the same tensor where strokes agree.
    """
    guide, painted = with_powers(guide), strokes.nonzero().T
    for weight, radius in PASSES:
        probabilities = _spread(probabilities, guide, strokes, painted, weight, radius)
    return probabilities


def _spread(
    probabilities: Tensor,
    guide: Tensor,
    strokes: Tensor,
    painted: Tensor,
    weight: float,
    radius: int,
) -> Tensor:
    """Return probabilities after one pass; `painted` are the rows and columns (2, P) of strokes."""
    said, meant = probabilities[:, *painted], strokes[*painted] - 1
    wrong = said.argmax(0) != meant
    if not bool(wrong.any()):
        return probabilities
    at = painted[:, wrong]
    missing = F.one_hot(meant[wrong].long(), len(probabilities)).T - said[:, wrong]
    rows, columns = (
        _around(along, size, _reach(radius)) for along, size in zip(at, strokes.shape, strict=True)
    )
    near, guide = probabilities[:, rows, columns], guide[:, rows, columns]
    count = torch.where(strokes[rows, columns] > 0, weight, 1.0)
    at = at - at.new_tensor([[rows.start], [columns.start]])
    coefficients, _ = fit(_means(guide, count, missing * weight, at, radius), len(guide), len(near))
    change = evaluate(window_mean(coefficients, radius), guide)
    probabilities = probabilities.clone()
    probabilities[:, rows, columns] = as_probabilities(change.add_(near))
    return probabilities


def _means(guide: Tensor, count: Tensor, missing: Tensor, at: Tensor, radius: int) -> Tensor:
    """Return weighted means over windows, as :func:`fit` takes them.

    Parameters
    ----------
    guide : Tensor
        (G, H, W).
    count : Tensor
        (H, W), how many pixels each counts as.
    missing : Tensor
        (M, P), what is missing at some pixels times what they count; nothing is elsewhere.
    at : Tensor
        (2, P), rows and columns of those.
    radius : int
        Of the windows, in blocks.
    """
    guides, height, width = guide.shape
    squares = (guide[:, None] * guide[None]).flatten(0, 1)
    dense = torch.cat([torch.cat([guide, squares]) * count, count[None]])
    dense = F.avg_pool2d(dense[None], BLOCK)[0]
    colours = guide[:, at[0], at[1]]
    sparse = torch.cat([missing, (colours[:, None] * missing[None]).flatten(0, 1)])
    block = at[0] // BLOCK * (width // BLOCK) + at[1] // BLOCK
    sums = sparse.new_zeros(len(sparse), height * width // BLOCK**2)
    sums.index_add_(1, block, sparse / BLOCK**2)
    sums = sums.view(-1, *dense.shape[1:])
    means = torch.cat(
        [dense[:guides], sums[: len(missing)], dense[guides:-1], sums[len(missing) :], dense[-1:]]
    )
    means = window_mean(means, radius)
    return means[:-1] / means[-1:]


def _around(at: Tensor, length: int, reach: int) -> slice:
    """Return all that is near some places along an axis, in whole blocks."""
    first, end = int(at.min()) - reach, int(at.max()) + 1 + reach
    return slice(max(0, first // BLOCK * BLOCK), min(length, -(-end // BLOCK) * BLOCK))
