"""Regions that show two kinds which other planes tell apart: painted over both by mistake.

Somebody in haste paints a cell where elsewhere they painted nucleus and cytoplasm. Taken at its
word, the stroke says that there is no difference, and that is learnt for all images. The planes
with most regions know better: taught by them, a classifier takes part of the stroke for one kind
and part for another, and nothing else on its plane shows either. Such a region is learnt as two,
and the annotator is told. Whoever paints the two as one as often as apart is believed.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from napari_cas.engine.appearances import (
    Painted,
    centres,
    few_planes,
    find_appearances,
    left_out,
    linear,
    only,
)
from napari_cas.engine.painting import name_regions
from napari_cas.engine.twins import FEWEST_PLANES, told_apart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.engine.painting import Region

_SHARE = 0.2
"""Of a region's pixels more than this are of each kind, and at most as many of others."""

_CERTAIN = 0.85
"""Planes left out tell the two kinds apart by at least this, where 1/2 is chance."""


class Mixed(NamedTuple):
    """Something that shows two kinds, and what tells its parts apart.

    Attributes
    ----------
    regions : tuple of int
        The region, or those of its plane that are taken as one with it.
    weight, bias : Tensor
        (D,) and (), float64: positive for standardised features of the second part.
    """

    regions: tuple[int, ...]
    weight: Tensor
    bias: Tensor


def find_mixed(painted: Painted, group: Tensor) -> tuple[Mixed, ...]:
    """Find regions that show two kinds.

    Parameters
    ----------
    painted : Painted
        Of groups of regions that are taken as one.
    group : Tensor
        (R,) the group of each region.
    """
    rich = teaching(painted.plane)
    if rich is None:
        return ()
    teachers, _ = few_planes(only(painted, rich))
    # As few kinds as possible: one kind under two numbers would make whatever has it look mixed.
    known = find_appearances(teachers, int(torch.bincount(teachers.plane).max()))
    weight, bias = linear(centres(teachers.means, known.number), known.noise)
    logits = painted.features @ weight.T + bias
    poor = _Poor(painted, logits.argmax(1), ~rich, centres(logits, painted.region).argmax(1))
    mean = left_out(teachers, known.number)
    found: list[Mixed] = []
    for one, other in itertools.combinations(range(len(weight)), 2):
        told, planes = told_apart(mean, known.number, teachers.plane, one, other)
        mixed = poor.of_both(one, other)
        if told >= _CERTAIN and planes >= max(FEWEST_PLANES, 1 + len(mixed)):
            differ = weight[other] - weight[one], bias[other] - bias[one]
            found += [Mixed(tuple((group == m).nonzero()[:, 0].tolist()), *differ) for m in mixed]
    return tuple(found)


def teaching(plane: Tensor) -> Tensor | None:
    """Return (R,) bool: which regions, of `plane` (R,), are on the planes that have most of them.

    None if these are too few to teach anything, or if there are no others.
    """
    number = torch.bincount(plane)
    most = number == number.max()
    return most[plane] if FEWEST_PLANES <= int(most.sum()) < len(most) else None


class _Poor(NamedTuple):
    """What the teachers say of the other planes.

    Attributes
    ----------
    painted : Painted
        Everything painted.
    best : Tensor
        (P,) the kind of each pixel.
    taught : Tensor
        (R,) bool: which are not of the teachers.
    kind : Tensor
        (R,) what each shows as a whole.
    """

    painted: Painted
    best: Tensor
    taught: Tensor
    kind: Tensor

    def of_both(self, one: int, other: int) -> list[int]:
        """Return what has pixels of two kinds of which nothing else on its plane shows either."""
        _, region, _, plane, _ = self.painted
        parts = torch.stack([self.best == one, self.best == other], dim=1)
        share = centres(parts.double(), region)
        mixed = (share > _SHARE).all(1) & (share.sum(1) >= 1 - _SHARE) & self.taught
        shown = ((self.kind == one) | (self.kind == other)).double()
        others = torch.bincount(plane, shown)[plane] - shown
        found: list[int] = (mixed & (others == 0)).nonzero()[:, 0].tolist()
        return found


def sentence(regions: Sequence[Region]) -> str:
    """Return what the annotator is told of mixed regions: image, plane and painted id of each."""
    verb = "show" if len(regions) > 1 else "shows"
    return (
        f"{name_regions(regions)} {verb} two kinds that other planes tell apart: learnt as two. "
        "Paint the two kinds under two numbers to make sure."
    )
