"""Planes that are painted after they were predicted: what nobody objects to is accepted.

Whoever looks at a segmentation paints where it is wrong. Taken by themselves, such strokes say that
a kind looks like what it is hardest to tell from: the more is corrected, the worse it becomes. What
they leave alone says the rest. So where the network was sure before a plane was painted again, some
of its pixels count as if they had been painted as what they were said to be, unless the strokes on
that plane make the network take them for something else.

Nor is it left to looks which kind a correction is of: it looks like another, else it would not be
one. What is painted on the prediction says its kind. Regions that are painted without saying so are
of the kinds that they look like most, one for each region of their plane. One that is alone on a
plane is different from nothing: it does not count until there is another, or its kind is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.optimize import linear_sum_assignment

from napari_cas.engine.accepting import (
    accepted_in,
    ids_of,
    painted_in,
    segments_in,
    told_in,
    was_seen,
)
from napari_cas.engine.painting import (
    ACCEPTED,
    marks_of,
    paint_of,
    painted_as,
    still_painted,
    within,
)
from napari_cas.protocol import Plane
from napari_cas.store.models import OF_PLANES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_cas.engine.painting import PaintedTile, Region
    from napari_cas.engine.sources import Source
    from napari_cas.protocol import Box

    Predict: TypeAlias = Callable[[PaintedTile], NDArray[np.float32]]
    """From a tile to probabilities (M, h, w), 0 where there are no data."""

Place: TypeAlias = tuple[str, Plane]
"""Name of an image, and plane."""

TWO = -1
"""The channel of a region that was learnt as two kinds."""

_MARKS = f"{OF_PLANES}marks."
"""How names of tensors begin that hold marks."""

_PIXELS = 256
"""Accepted of each channel and plane, at most."""

_LEAST = 1e-6
_UNUSED, _TAKEN = 14.0, 1e3
"""Costs: both are more than -log of the least probability."""


@dataclass
class _Plane:
    """What is known of a plane that is painted.

    Attributes
    ----------
    paint : str
        Digest of what was painted when it was last looked at.
    marks : ndarray
        (K, 3) int64, some of its pixels, as of :func:`marks_of`: an id of which all was erased may
        be painted again, elsewhere and of another kind.
    points : ndarray
        (A, 4) int32: row, column, channel, and whether it counts now, of accepted pixels.
    channel : dict
        The channel of painted ids, as it was said, guessed or learnt.
    corrected : bool
        Whether the paint has changed since the plane was predicted.
    bare : bool
        Whether nothing was painted when it was predicted first.
    begun : set of int
        Regions that were painted last beside earlier ones: of what each of them is there is more,
        and nobody accepted that as something else.
    """

    paint: str = ""
    marks: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    points: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 4), np.int32))
    channel: dict[int, int] = field(default_factory=dict)
    corrected: bool = False
    bare: bool = False
    begun: set[int] = field(default_factory=set)


class Corrected:
    """All planes that are painted, and what is known of those that are corrected."""

    def __init__(self) -> None:
        self._planes: dict[Place, _Plane] = {}
        self._forgotten = False

    def saved(self) -> tuple[dict[str, NDArray[Any]], list[dict[str, Any]]]:
        """Return arrays by name and what to write into JSON, for :meth:`restored`."""
        tensors: dict[str, NDArray[Any]] = {}
        planes: list[dict[str, Any]] = []
        for (image, plane), known in self._planes.items():
            channel = {str(id_): one for id_, one in known.channel.items()}
            record: dict[str, Any] = {"image": image, "plane": list(plane), "paint": known.paint}
            tensors[f"{_MARKS}{len(planes)}"] = known.marks
            if known.corrected:
                tensors[f"{OF_PLANES}{len(planes)}"] = known.points.copy()
            record |= {"corrected": known.corrected, "bare": known.bare}
            planes.append(record | {"channel": channel})
        return tensors, planes

    @classmethod
    def restored(
        cls, tensors: Mapping[str, NDArray[Any]], planes: Sequence[Mapping[str, Any]] | None
    ) -> Corrected:
        """Return what was saved; None where nothing was, by an earlier version."""
        found = cls()
        found._forgotten = planes is None
        for number, saved in enumerate(planes or ()):
            known = _Plane(str(saved["paint"]), corrected=bool(saved["corrected"]))
            known.bare = bool(saved["bare"])
            known.channel = {int(id_): int(one) for id_, one in saved["channel"].items()}
            if f"{_MARKS}{number}" in tensors:
                known.marks = np.array(tensors[f"{_MARKS}{number}"], np.int64)
            else:  # by an earlier version, whose digests were others
                found._forgotten = True
            if known.corrected:
                known.points = np.array(tensors[f"{OF_PLANES}{number}"], np.int32).reshape(-1, 4)
            found._planes[str(saved["image"]), tuple(int(i) for i in saved["plane"])] = known
        return found

    def look(self, tiles: Sequence[PaintedTile], predict: Predict | None, seed: int) -> None:
        """Notice on which planes the paint has changed, and what was said of them before.

        Parameters
        ----------
        tiles : sequence of PaintedTile
            All that is painted.
        predict : callable or None
            What the network says of a tile; None before anything is learnt.
        seed : int
            Which pixels are drawn depends on it.
        """
        before, self._planes = self._planes, {}
        for place, own in _by_place(tiles).items():
            found, paint = before.get(place, _Plane()), paint_of(own)
            if found.paint != paint:
                found = self._changed(own, found, predict, seed)
                found = replace(found, paint=paint, marks=marks_of(own))
            self._planes[place] = found
        self._forget_kinds({one for plane in before.values() for one in plane.channel.values()})
        self._forgotten = False

    def _changed(
        self, tiles: Sequence[PaintedTile], old: _Plane, predict: Predict | None, seed: int
    ) -> _Plane:
        """Return what is known of a plane whose paint has changed."""
        painted = ids_of(tiles)
        same = still_painted(old.marks, tiles) & painted if len(old.marks) else painted
        if not same:  # all was erased, or the image is another of this name
            old = _Plane()
        channel = {id_: one for id_, one in old.channel.items() if id_ in same}
        unseen = predict is None or not any(map(was_seen, tiles))
        if predict is None or unseen or self._forgotten:
            return replace(old, channel=channel)
        bare = old.bare or not old.paint
        each, points = max(1, _PIXELS // len(tiles)), []
        for tile in tiles:  # one after the other: a plane may have hundreds
            soft = predict(tile)
            points.append(accepted_in(tile, soft, each, seed))
            channel |= segments_in(tile, soft.argmax(0), painted - channel.keys())
        fresh = painted - channel.keys() - told_in(tiles)
        every, begun = np.concatenate(points), set() if bare else fresh
        return _Plane(points=every, channel=channel, corrected=True, bare=bare, begun=begun)

    def _forget_kinds(self, before: set[int]) -> None:
        """Accept nothing of kinds of which all strokes are gone."""
        now = {one for plane in self._planes.values() for one in plane.channel.values()}
        for plane in self._planes.values():
            gone = np.isin(plane.points[:, 2], sorted(before - now))
            plane.points = plane.points[~gone]

    def accept_again(self) -> None:
        """Accept all again what was said before, until something objects to it."""
        for plane in self._planes.values():
            plane.points[:, 3] = 1

    def alone(self, tiles: Sequence[PaintedTile]) -> list[Region]:
        """Return regions that do not count: alone on a plane that is corrected, of no known kind.

        Returns
        -------
        list of (str, tuple of int, int)
            Title of the image, plane and id of each.
        """
        titles = {tile.source.name: tile.source.title for tile in tiles}
        return [(titles[name], plane, id_) for (name, plane), id_ in self._alone(tiles).items()]

    def _alone(self, tiles: Sequence[PaintedTile]) -> dict[Place, int]:
        found = {}
        for place, own in _by_place(tiles).items():
            if place not in self:
                continue
            ids = ids_of(own)
            if len(ids) == 1 and not ids & self._planes[place].channel.keys():
                found[place] = ids.pop()
        return found

    def join(self, tiles: Sequence[PaintedTile]) -> list[PaintedTile]:
        """Return tiles that hold what counts: accepted pixels, too, and no regions alone."""
        alone = self._alone(tiles)
        joined = [self._joined(t, bare=(t.source.name, t.plane) in alone) for t in tiles]
        return [tile for tile in joined if tile.regions.any()]

    def _joined(self, tile: PaintedTile, *, bare: bool) -> PaintedTile:
        plane = self._planes[tile.source.name, tile.plane]
        if not plane.corrected:
            return tile
        y, x, channel, counts = plane.points.T
        box = tile.box
        here = (counts > 0) & (y >= box.y0) & (y < box.y1) & (x >= box.x0) & (x < box.x1)
        y, x, channel = y[here] - box.y0, x[here] - box.x0, channel[here]
        regions = np.where(painted_in(tile), tile.regions, 0)
        free = regions[y, x] == 0
        if bare:
            regions[:] = 0
        regions[y[free], x[free]] = ACCEPTED + channel[free].astype(np.int64)
        return replace(tile, regions=regions)

    def hear(self, tiles: Sequence[PaintedTile], channels: int) -> bool:
        """Take the kinds of regions from what is painted on the prediction.

        Parameters
        ----------
        tiles : sequence of PaintedTile
            All that is painted.
        channels : int
            Softmax channels M: labels beyond them can be painted, too, and stand for no kind.

        Returns
        -------
        bool
            Whether any is of another kind now, or was of an unknown one.
        """
        votes: dict[tuple[Place, int], NDArray[np.int64]] = {}
        for tile in tiles:
            place = tile.source.name, tile.plane
            if not self._planes[place].corrected:
                continue
            said = tile.source.corrected(tile.plane, tile.box)
            if said is None:
                continue
            both = (said > 0) & (said <= channels) & (tile.regions > 0)
            for id_ in np.unique(tile.regions[both]).tolist():
                seen = np.bincount(said[both & (tile.regions == id_)], minlength=256)
                votes[place, id_] = votes.get((place, id_), np.zeros(256, np.int64)) + seen
        changed = False
        for (place, id_), number in votes.items():
            known, channel = self._planes[place].channel, int(number.argmax()) - 1
            if known.get(id_) != channel:
                known[id_], changed = channel, True
        return changed

    def guess(
        self,
        place: Place,
        groups: Sequence[Sequence[int]],
        soft: NDArray[np.float64],
        used: NDArray[np.bool_],
    ) -> None:
        """Guess the kinds of regions of a plane of which they are not known.

        Parameters
        ----------
        place : Place
            A plane that is corrected.
        groups : sequence of sequence of int
            The ids that are painted there, of each group of regions that are taken as one.
        soft : ndarray
            (groups, M) mean probabilities before they were painted.
        used : ndarray
            (M,) bool: which channels anything has.
        """
        channel = self._planes[place].channel
        known = [{channel[i] for i in ids if channel.get(i, TWO) != TWO} for ids in groups]
        fresh = [number for number, channels in enumerate(known) if not channels]
        taken = sorted({one for channels in known for one in channels})
        found = _guessed(soft[fresh], used, taken).tolist()
        for number, one in zip(fresh, found, strict=True):
            known[number] = {one}
        for ids, channels in zip(groups, known, strict=True):
            for id_ in ids:
                channel.setdefault(id_, min(channels))

    def note(self, place: Place, channel: dict[int, int]) -> None:
        """Note of which channels the regions of a plane were learnt, unless it is corrected."""
        if not self._planes[place].corrected:
            self._planes[place].channel = channel

    def learnt(self, source: Source, plane: Plane, box: Box) -> dict[int, int]:
        """Return the channels of regions of a plane that are to be followed in a box of it.

        Not of those that were learnt as two, nor of ids of which nothing is left in the box of what
        was learnt there: who paints under such an id again may mean something else.
        """
        known = self._planes.get((source.name, plane), _Plane())
        marks = known.marks[within(known.marks, box)]
        kept = painted_as(marks, box, source.regions(plane, box)) if len(marks) else marks[:, 0] > 0
        gone = {*marks[:, 0].tolist()} - {*marks[kept, 0].tolist()} | {TWO}
        return {i: one for i, one in known.channel.items() if one != TWO and i not in gone}

    def take_begun(self, place: Place) -> set[int]:
        """Return the regions that are begun on a plane, once."""
        plane = self._planes[place]
        begun, plane.begun = plane.begun, set()
        return begun

    def channels(self, place: Place, ids: Sequence[int]) -> list[int]:
        """Return the channel of each id of a plane, -1 where it is not known beforehand."""
        channel = self._planes[place].channel
        if place not in self:
            return [-1] * len(ids)
        return [i - ACCEPTED if i >= ACCEPTED else channel.get(i, -1) for i in ids]

    @property
    def accepted(self) -> set[int]:
        """Channels of which anything was accepted on any plane."""
        return {int(one) for p in self._planes.values() for one in np.unique(p.points[:, 2])}

    @property
    def kinds(self) -> set[int]:
        """All channels that anything is known of."""
        return self.accepted | {one for p in self._planes.values() for one in p.channel.values()}

    def __contains__(self, place: Place) -> bool:
        """Return whether a plane is corrected."""
        return place in self._planes and self._planes[place].corrected

    def object(self, place: Place, at: NDArray[np.int64]) -> None:
        """No longer accept the pixels (A, 2), row and column, of a plane, until all are again."""
        points = self._planes[place].points
        points[_among(points, at), 3] = 0

    def drop(self, place: Place, at: NDArray[np.int64]) -> None:
        """Never again accept the pixels (A, 2), row and column, of a plane."""
        points = self._planes[place].points
        self._planes[place].points = points[~_among(points, at)]


def _among(points: NDArray[np.int32], at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of some `_Plane.points` (N, 4) are among pixels (A, 2), row and column."""
    wide = 1 << 32
    code = points[:, 0].astype(np.int64) * wide + points[:, 1]
    return np.isin(code, at[:, 0] * wide + at[:, 1])


def _by_place(tiles: Sequence[PaintedTile]) -> dict[Place, list[PaintedTile]]:
    found: dict[Place, list[PaintedTile]] = {}
    for tile in tiles:
        found.setdefault((tile.source.name, tile.plane), []).append(tile)
    return found


def _guessed(
    soft: NDArray[np.float64], used: NDArray[np.bool_], taken: Sequence[int]
) -> NDArray[np.intp]:
    """Return the channels of regions (R,) of one plane by their looks, one for each region.

    Parameters
    ----------
    soft : ndarray
        (R, M) mean probabilities.
    used : ndarray
        (M,) bool: which channels anything has; others only if it must be.
    taken : sequence of int
        Channels of other regions.
    """
    cost = np.where(used, -np.log(np.maximum(soft, _LEAST)), _UNUSED)
    cost[:, taken] = _TAKEN
    channel: NDArray[np.intp] = soft.argmax(1)
    rows, columns = linear_sum_assignment(cost)
    channel[rows] = columns  # where there are more regions than channels, some share one
    return channel
