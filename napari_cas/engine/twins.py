"""Two regions of every plane that show one kind, as only the other planes can tell.

People paint one kind under two ids, on every image. Two strokes are never alike in all features, so
that :mod:`napari_cas.engine.alike`, which looks at one plane, believes what was said. But which of
the two is which on the next plane, nobody can say: taught by the other planes, a classifier takes
each for either. Such regions are taken as one, and the annotator is told.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from napari_cas.engine.appearances import Painted, few_planes, left_out

CHANCE = 0.75
"""Told apart by less than this, where 1/2 is chance and 1 certainty, two kinds are one."""

FEWEST_PLANES = 3
"""So many planes must show two kinds, before the others can say anything of them."""

TOGETHER = 0.5
"""On so many of the planes that show the rarer of two kinds, twins are together: whoever paints one
kind under two ids does so often. Of many kinds two meet seldom, and on few planes by chance."""


def join_twins(painted: Painted, number: Tensor) -> Tensor:
    """Return new numbers of regions, shared by those of a plane that are taken as one.

    Parameters
    ----------
    painted : Painted
        The painted regions.
    number : Tensor
        (R,) the appearance of each, all different within a plane.

    Returns
    -------
    Tensor
        (R,) int64, from 0 without gaps, unique over all planes.
    """
    joined = torch.arange(int(number.max()) + 1)
    for one, other in _twins(painted, number):
        joined[other] = one
    key = painted.plane * len(joined) + joined[number]
    found: Tensor = torch.unique(key, return_inverse=True)[1]
    return found


def _twins(painted: Painted, number: Tensor) -> list[tuple[int, int]]:
    """Return pairs of appearances that other planes cannot tell apart, none in two pairs.

    At least two appearances remain: what is hard to learn is still something to learn.
    """
    if int(painted.plane.max()) + 1 < FEWEST_PLANES:
        return []
    survey, kept = few_planes(painted)
    number = number[kept]
    mean = left_out(survey, number)
    shown = torch.bincount(number, minlength=mean.shape[1])  # once a plane
    found = []
    for one, other in itertools.combinations(range(mean.shape[1]), 2):
        told, planes = told_apart(mean, number, survey.plane, one, other)
        if told < CHANCE and planes >= TOGETHER * shown[[one, other]].min():
            found.append((told, one, other))
    taken: set[int] = set()
    pairs: list[tuple[int, int]] = []
    for _, one, other in sorted(found):
        if not taken & {one, other} and mean.shape[1] - len(pairs) > 2:
            taken |= {one, other}
            pairs.append((one, other))
    return pairs


def told_apart(
    mean: Tensor, number: Tensor, plane: Tensor, one: int, other: int
) -> tuple[float, int]:
    """Return how well planes left out tell two appearances apart, and how many planes show both.

    Parameters
    ----------
    mean : Tensor
        (R, K) mean probabilities of each region, taught by other planes only.
    number, plane : Tensor
        (R,) appearance and plane of each region.
    one, other : int
        The two appearances.

    Returns
    -------
    told : float
        1/2 by chance, 1 with certainty; 1 where too few planes show both.
    planes : int
        Planes that show both.
    """
    first, second = number == one, number == other
    both = torch.isin(plane, plane[first]) & torch.isin(plane, plane[second])
    planes = len(plane[both].unique())  # type: ignore[no-untyped-call]
    if planes < FEWEST_PLANES:
        return 1.0, planes
    share = mean[:, one] / (mean[:, one] + mean[:, other]).clamp(min=1e-12)
    right, wrong = share[first & both].mean(), share[second & both].mean()
    return float((right + 1 - wrong) / 2), planes
