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

    from numpy.typing import NDArray

    from napari_cas.engine.sources import Source
    from napari_cas.protocol import Box

Region: TypeAlias = tuple[str, Plane, int]
"""Title of an image, plane and painted id: what sentences name."""

ACCEPTED = 2**40
"""Ids from here on are not painted: what was predicted there is accepted. Plus the channel."""

MARKS = 5
"""So many pixels of each painted id tell later whether it is still the same paint."""

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

    @cached_property
    def paint(self) -> int:
        """Digest of the same that sums over tiles: a plane's does not depend on how it is cut."""
        y, x = (at.astype(np.uint64) for at in np.nonzero(self.regions))
        place = (y + np.uint64(self.box.y0)) << np.uint64(32) | (x + np.uint64(self.box.x0))
        ids = self.regions[self.regions != 0].astype(np.uint64)
        return int(_mixed(_mixed(place) + ids).sum(dtype=np.uint64))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers that look random, the same for the same [1]_.

    References
    ----------
    .. [1] Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


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


def paint_of(tiles: Sequence[PaintedTile]) -> str:
    """Return a digest of where what is painted on a plane, whatever its tiles are."""
    return f"{sum(tile.paint for tile in tiles) % 2**64:016x}"


def digest_of(tiles: Sequence[PaintedTile]) -> str:
    """Return a digest of where what is painted."""
    return hashlib.blake2b(b"".join(t.digest for t in tiles), digest_size=16).hexdigest()


def marks_of(tiles: Sequence[PaintedTile]) -> NDArray[np.int64]:
    """Return some painted pixels of each id of a plane, spread over its paint.

    Parameters
    ----------
    tiles : sequence of PaintedTile
        Of one plane.

    Returns
    -------
    ndarray
        (K, 3): id, row, column; at most `MARKS` of an id, ordered by id.
    """
    found = [_few(_painted_pixels(tile)) for tile in tiles]
    return _few(np.concatenate(found)) if found else np.zeros((0, 3), np.int64)


def still_painted(marks: NDArray[np.int64], tiles: Sequence[PaintedTile]) -> set[int]:
    """Return the ids of which at least half of the marks (K, 3) are still painted as they were."""
    kept = np.zeros(len(marks), bool)
    for tile in tiles:
        kept |= painted_as(marks, tile.box, tile.regions)
    ids, inverse, count = np.unique(marks[:, 0], return_inverse=True, return_counts=True)
    return set(ids[2 * np.bincount(inverse[kept], minlength=len(ids)) >= count].tolist())


def painted_as(marks: NDArray[np.int64], box: Box, regions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which marks (K, 3) are in a box whose regions (h, w) have their ids there."""
    id_, y, x = marks.T
    here = within(marks, box)
    here[here] = regions[y[here] - box.y0, x[here] - box.x0] == id_[here]
    return here


def within(marks: NDArray[np.int64], box: Box) -> NDArray[np.bool_]:
    """Return which marks (K, 3) are in a box."""
    _, y, x = marks.T
    inside: NDArray[np.bool_] = (y >= box.y0) & (y < box.y1) & (x >= box.x0) & (x < box.x1)
    return inside


def _painted_pixels(tile: PaintedTile) -> NDArray[np.int64]:
    y, x = np.nonzero(tile.regions)
    return np.stack([tile.regions[y, x], y + tile.box.y0, x + tile.box.x0], axis=1)


def _few(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most `MARKS` of the pixels (P, 3) of each id, evenly through their order."""
    pixels = pixels[np.argsort(pixels[:, 0], kind="stable")]
    _, first, count = np.unique(pixels[:, 0], return_index=True, return_counts=True)
    number = np.minimum(count, MARKS)
    of = np.repeat(np.arange(len(count)), number)
    turn = np.arange(len(of)) - np.repeat(np.cumsum(number) - number, number)
    found: NDArray[np.int64] = pixels[first[of] + (2 * turn + 1) * count[of] // (2 * number[of])]
    return found
