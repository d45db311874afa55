"""What is painted: which tiles hold paint, and whether it says enough to learn from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_cas.engine.tiling import grid, overlapping
from napari_cas.errors import RegionError
from napari_cas.protocol import Plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.engine.sources import Source
    from napari_cas.protocol import Box

Region: TypeAlias = tuple[str, Plane, int]
"""Title of an image, plane and painted id: what sentences name."""

ACCEPTED = 2**40
"""Ids from here on are not painted: what was predicted there is accepted. Plus the channel."""

_MOST_NAMED = 3


@dataclass(frozen=True)
class PaintedTile:
    """A tile of the prediction grid that holds paint."""

    source: Source
    plane: Plane
    box: Box
    regions: np.ndarray[tuple[int, int], np.dtype[np.int64]]

    @cached_property
    def digest(self) -> bytes:
        """Digest of where what is painted on it."""
        total = hashlib.blake2b(digest_size=8)
        total.update(repr((self.source.name, self.plane, tuple(self.box))).encode())
        total.update(self.regions.tobytes())
        return total.digest()


def painted_tiles(sources: Sequence[Source], tile: int) -> list[PaintedTile]:
    """Find the tiles with paint; only painted chunks are looked at."""
    found = []
    for source in sources:
        tiles = grid(source.size, tile)
        wanted = {(plane, t) for plane, box in source.painted() for t in overlapping(tiles, box)}
        for plane, box in sorted(wanted):
            regions = source.regions(plane, box)
            if regions.any():
                found.append(PaintedTile(source, plane, box, regions))
    return found


def check_regions(tiles: Sequence[PaintedTile], why: str = "") -> int:
    """Return the number of painted regions over all planes.

    Parameters
    ----------
    tiles : sequence of PaintedTile
        What is painted where there are data, and what is accepted of predictions.
    why : str
        Sentences on regions that do not count, which may be why others are too few.

    Raises
    ------
    RegionError
        If nothing is painted, or no plane has two regions to tell apart.
    """
    ids: dict[tuple[str, Plane], set[int]] = {}
    for t in tiles:
        found = ids.setdefault((t.source.name, t.plane), set())
        found.update(np.unique(t.regions[t.regions != 0]).tolist())
    total = sum(id_ < ACCEPTED for found in ids.values() for id_ in found)
    why = f" {why}" if why else ""
    if not total:
        raise RegionError(
            "Nothing is painted yet",
            todo=f"Paint a stroke on each of two areas that look different.{why}",
        )
    if max(map(len, ids.values())) < 2:
        raise RegionError(
            "Only one region is painted",
            expected="two or more regions on one plane",
            got=f"{total} region{'s' if total > 1 else ''}, no two on one plane",
            todo=f"Start a new region and paint something that looks different.{why}",
        )
    return total


def regions_off_data(tiles: Sequence[PaintedTile], sources: Sequence[Source]) -> list[Region]:
    """Return regions that are painted only where there are no data, and therefore do not count."""
    titles = {source.name: source.title for source in sources}
    off = {
        (source.name, plane, id_)
        for source in sources
        for plane, box in source.painted()
        for id_ in source.off_data(plane, box).tolist()
    }
    seen = {(t.source.name, t.plane, id_) for t in tiles for id_ in np.unique(t.regions).tolist()}
    return [(titles[name], plane, id_) for name, plane, id_ in sorted(off - seen)]


def name_regions(regions: Sequence[Region]) -> str:
    """Return how a sentence about some regions begins, naming the first of them."""
    named = [
        f"{id_} of {image}" + (f", plane {', '.join(map(str, plane))}" if plane else "")
        for image, plane, id_ in regions[:_MOST_NAMED]
    ]
    rest = "; …" if len(regions) > _MOST_NAMED else ""
    return f"Region{'s' if len(regions) > 1 else ''} {'; '.join(named)}{rest}"


def off_data_sentence(regions: Sequence[Region]) -> str:
    """Return what the annotator is told of regions that do not count."""
    verb = "are" if len(regions) > 1 else "is"
    where = "painted only where the image has no data"
    return f"{name_regions(regions)} {verb} {where}: that does not count."


def alone_sentence(regions: Sequence[Region]) -> str:
    """Return what the annotator is told of regions that are alone on a predicted plane."""
    one = len(regions) == 1
    return (
        f"{name_regions(regions)} {'is' if one else 'are'} alone on {'its' if one else 'their'} "
        "plane, which does not say what kind it is: paint a second region there, or paint on the "
        "prediction, with the label that it should have."
    )


def digest_of(tiles: Sequence[PaintedTile]) -> str:
    """Return a digest of where what is painted."""
    return hashlib.blake2b(b"".join(t.digest for t in tiles), digest_size=16).hexdigest()
