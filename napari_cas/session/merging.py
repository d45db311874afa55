"""Regions that look alike, made one in the paint as the loss takes them for one already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.protocol import Alike, Box, Plane
    from napari_cas.store import ImageEntry


def merge(entry: ImageEntry, alike: Alike) -> None:
    """Give all regions of a group the smallest id among them; reads painted chunks only.

    Parameters
    ----------
    entry : ImageEntry
        The group's image.
    alike : Alike
        Ids on one plane; those that are no longer painted change nothing.
    """
    first, *others = sorted(alike.ids)
    for plane, box in places(entry, [alike]):
        part = (*plane, *box.slices)
        ids = np.asarray(entry.regions[part])
        among = np.isin(ids, others)
        if among.any():
            entry.regions[part] = np.where(among, first, ids)


def places(entry: ImageEntry, groups: Sequence[Alike]) -> list[tuple[Plane, Box]]:
    """Return the painted chunks of an image that `merge` may change for any of these groups."""
    planes = {group.plane for group in groups if group.image == entry.name}
    return [place for place in entry.regions.painted_chunks() if place[0] in planes]


def sentence(alike: Alike, most: int = 5) -> str:
    """Return what the annotator is told of a group.

    Parameters
    ----------
    alike : Alike
        The group.
    most : int
        Ids that are named at most.
    """
    named = ", ".join(map(str, alike.ids[:most])) + (", …" if len(alike.ids) > most else "")
    plane = f", plane {', '.join(map(str, alike.plane))}" if alike.plane else ""
    return f"Regions {named} of {alike.image!r}{plane} look alike: they are learnt as one."


def summary(groups: tuple[Alike, ...]) -> str:
    """Return one sentence about all groups, or "" for none."""
    if len(groups) < 2:
        return sentence(groups[0]) if groups else ""
    number = sum(len(group.ids) for group in groups)
    return f"{number} regions look alike within {len(groups)} groups, each learnt as one."
