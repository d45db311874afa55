"""Planes that are painted after they were predicted: what nobody objected to is accepted.

Whoever goes on to the next image sees a segmentation and paints where it is wrong. Taken by
themselves, such strokes say that a kind looks like what it is hardest to tell from: the more is
corrected, the worse it becomes. What they leave alone says the rest. So where the network was sure
of a plane before it was painted first, some of its pixels count as if they had been painted as what
they were said to be, until the corrections say otherwise.

Nor is it left to looks which kind a correction is of: it looks like another, else it would not be
one. What is painted on the prediction says its kind. A region that is painted without saying so is
of the kind that it looks like most, one kind for each region of its plane; one that is alone there
is of the kind that it looks like most apart from what was said of it: else, why paint it?
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.optimize import linear_sum_assignment

from napari_cas.engine.painting import ACCEPTED
from napari_cas.protocol import Plane
from napari_cas.store.models import OF_PLANES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_cas.engine.painting import PaintedTile

Place: TypeAlias = tuple[str, Plane]
"""Name of an image, and plane."""

_SURE = 0.9
_PIXELS = 256
_INEXACT = 0.02
_LEAST = 1e-6
_UNUSED, _TAKEN = 14.0, 1e3
"""Costs: both are more than -log of the least probability."""


@dataclass
class _Plane:
    """What is known of a plane that is corrected.

    Attributes
    ----------
    points : ndarray
        (A, 4) int32: row, column, channel, and whether it counts now, of accepted pixels.
    channel : dict
        The channel of each painted id.
    """

    points: NDArray[np.int32]
    channel: dict[int, int] = field(default_factory=dict)


class Corrected:
    """All planes that are painted, and what is known of those that are corrected."""

    def __init__(self) -> None:
        self._planes: dict[Place, _Plane | None] = {}
        self._forgotten = False

    def saved(self) -> tuple[dict[str, NDArray[np.int32]], list[dict[str, Any]]]:
        """Return arrays by name and what to write into JSON, for :meth:`restored`."""
        tensors: dict[str, NDArray[np.int32]] = {}
        planes: list[dict[str, Any]] = []
        for (image, plane), known in self._planes.items():
            channel = None
            if known is not None:
                tensors[f"{OF_PLANES}{len(planes)}"] = known.points
                channel = {str(id_): one for id_, one in known.channel.items()}
            planes.append({"image": image, "plane": list(plane), "channel": channel})
        return tensors, planes

    @classmethod
    def restored(
        cls, tensors: Mapping[str, NDArray[Any]], planes: Sequence[Mapping[str, Any]] | None
    ) -> Corrected:
        """Return what was saved; None where nothing was, by an earlier version."""
        found = cls()
        found._forgotten = planes is None
        for number, saved in enumerate(planes or ()):
            place = str(saved["image"]), tuple(int(i) for i in saved["plane"])
            known = None
            if saved["channel"] is not None:
                points = np.array(tensors[f"{OF_PLANES}{number}"], np.int32).reshape(-1, 4)
                channel = {int(id_): int(one) for id_, one in saved["channel"].items()}
                known = _Plane(points, channel)
            found._planes[place] = known
        return found

    def look(
        self,
        tiles: Sequence[PaintedTile],
        predict: Callable[[PaintedTile], NDArray[np.float32]] | None,
        seed: int,
    ) -> None:
        """Notice which planes are painted for the first time, and what was said of them before.

        Parameters
        ----------
        tiles : sequence of PaintedTile
            All that is painted.
        predict : callable or None
            From a tile to probabilities (M, h, w), 0 where there are no data; None before anything
            is learnt.
        seed : int
            Which pixels are drawn depends on it.
        """
        places: dict[Place, list[PaintedTile]] = {}
        for tile in tiles:
            places.setdefault((tile.source.name, tile.plane), []).append(tile)
        before, self._planes = self._planes, {}
        for place, own in places.items():
            if place in before:
                self._planes[place] = before[place]
            elif self._forgotten or predict is None or not any(map(_was_seen, own)):
                self._planes[place] = None
            else:
                self._planes[place] = _noticed(own, predict, seed)
        self._forgotten = False

    def accept_again(self) -> None:
        """Accept all again what was said before, until something objects to it."""
        for plane in self._corrected():
            plane.points[:, 3] = 1

    def _corrected(self) -> list[_Plane]:
        return [plane for plane in self._planes.values() if plane is not None]

    def join(self, tiles: Sequence[PaintedTile]) -> list[PaintedTile]:
        """Return tiles where pixels that are accepted now and that nobody painted have ids, too."""
        return [self._joined(tile) for tile in tiles]

    def _joined(self, tile: PaintedTile) -> PaintedTile:
        plane = self._planes.get((tile.source.name, tile.plane))
        if plane is None:
            return tile
        y, x, channel, counts = plane.points.T
        box = tile.box
        here = (counts > 0) & (y >= box.y0) & (y < box.y1) & (x >= box.x0) & (x < box.x1)
        y, x, channel = y[here] - box.y0, x[here] - box.x0, channel[here]
        regions = np.where(tile.regions < ACCEPTED, tile.regions, 0)
        bare = regions[y, x] == 0
        regions[y[bare], x[bare]] = ACCEPTED + channel[bare].astype(np.int64)
        return tile._replace(regions=regions)

    def hear(self, tiles: Sequence[PaintedTile]) -> bool:
        """Take the kinds of regions from what is painted on the prediction.

        Returns
        -------
        bool
            Whether any is of another kind now, or was of an unknown one.
        """
        votes: dict[tuple[Place, int], NDArray[np.int64]] = {}
        for tile in tiles:
            place = tile.source.name, tile.plane
            said = tile.source.corrected(tile.plane, tile.box) if self._planes.get(place) else None
            if said is None:
                continue
            both = (said > 0) & (tile.regions > 0)
            for id_ in np.unique(tile.regions[both]).tolist():
                seen = np.bincount(said[both & (tile.regions == id_)], minlength=256)
                votes[place, id_] = votes.get((place, id_), np.zeros(256, np.int64)) + seen
        changed = False
        for (place, id_), number in votes.items():
            plane, channel = self._planes[place], int(number.argmax()) - 1
            if plane is not None and plane.channel.get(id_) != channel:
                plane.channel[id_], changed = channel, True
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
        plane = self._planes[place]
        if plane is None:
            return
        painted = {id_ for ids in groups for id_ in ids}
        plane.channel = {id_: one for id_, one in plane.channel.items() if id_ in painted}
        known = [{plane.channel[i] for i in ids if i in plane.channel} for ids in groups]
        fresh = [number for number, channels in enumerate(known) if not channels]
        taken = sorted({channel for channels in known for channel in channels})
        found = _guessed(soft[fresh], used, taken, alone=len(groups) == 1).tolist()
        for number, channel in zip(fresh, found, strict=True):
            known[number] = {channel}
        for ids, channels in zip(groups, known, strict=True):
            for id_ in ids:
                plane.channel.setdefault(id_, min(channels))

    def channels(self, place: Place, ids: Sequence[int]) -> list[int]:
        """Return the channel of each id of a plane, -1 where it is not known beforehand."""
        plane = self._planes.get(place)
        if plane is None:
            return [-1] * len(ids)
        return [i - ACCEPTED if i >= ACCEPTED else plane.channel.get(i, -1) for i in ids]

    @property
    def accepted(self) -> set[int]:
        """Channels of which anything was accepted on any plane."""
        return {int(one) for plane in self._corrected() for one in np.unique(plane.points[:, 2])}

    def __contains__(self, place: Place) -> bool:
        return self._planes.get(place) is not None

    def object(self, place: Place, at: NDArray[np.int64]) -> int:
        """No longer accept the pixels (A, 2) of a plane; return how many these were."""
        plane = self._planes.get(place)
        if plane is None or not len(at):
            return 0
        wide = 1 << 32
        code = plane.points[:, 0].astype(np.int64) * wide + plane.points[:, 1]
        gone = np.isin(code, at[:, 0] * wide + at[:, 1]) & (plane.points[:, 3] > 0)
        plane.points[gone, 3] = 0
        return int(gone.sum())


def _guessed(
    soft: NDArray[np.float64], used: NDArray[np.bool_], taken: Sequence[int], *, alone: bool
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
    alone : bool
        Whether the plane has no other region: then it is not what was said of it.
    """
    cost = np.where(used, -np.log(np.maximum(soft, _LEAST)), _UNUSED)
    cost[:, taken] = _TAKEN
    channel: NDArray[np.intp] = soft.argmax(1)
    if alone and len(soft):
        cost[0, channel[0]] = _TAKEN
    rows, columns = linear_sum_assignment(cost)
    channel[rows] = columns  # where there are more regions than channels, some share one
    return channel


def _was_seen(tile: PaintedTile) -> bool:
    """Return whether the annotator can have seen a prediction there."""
    shown = tile.source.shown(tile.plane, tile.box)
    return shown is None or bool(shown.any())


def _noticed(
    tiles: Sequence[PaintedTile],
    predict: Callable[[PaintedTile], NDArray[np.float32]],
    seed: int,
) -> _Plane:
    """Return what there is to know of a plane when it is first painted."""
    few = max(1, _PIXELS // len(tiles))
    points, channel = [], {}
    for tile in tiles:
        soft = predict(tile)
        points.append(_accepted(tile, soft, few, seed))
        channel.update(_segments(tile.regions, soft.argmax(0)))
    return _Plane(np.concatenate(points), channel)


def _segments(regions: NDArray[np.int64], label: NDArray[np.intp]) -> dict[int, int]:
    """Return regions that are segments of the prediction as a whole, with their labels.

    They were accepted with a click: nobody paints as exactly.
    """
    found = {}
    for id_ in np.unique(regions[regions > 0]).tolist():
        own = regions == id_
        around = label[binary_dilation(own) & ~own]
        most = int(np.bincount(label[own]).argmax())
        wrong = np.count_nonzero(label[own] != most), np.count_nonzero(around == most)
        if wrong[0] <= _INEXACT * own.sum() and wrong[1] <= _INEXACT * around.size:
            found[id_] = most
    return found


def _accepted(
    tile: PaintedTile, soft: NDArray[np.float32], few: int, seed: int
) -> NDArray[np.int32]:
    """Return some of the unpainted pixels of which the network is sure, as `_Plane.points`."""
    label = soft.argmax(0)
    sure = (soft.max(0) > _SURE) & (tile.regions == 0)
    shown = tile.source.shown(tile.plane, tile.box)
    if shown is not None:
        sure &= shown == label + 1
    rng = np.random.default_rng([seed, *map(int, tile.box), *tile.plane])
    found = []
    for channel in np.unique(label[sure]):
        y, x = np.nonzero(sure & (label == channel))
        some = rng.permutation(len(y))[:few]
        y, x = y[some] + tile.box.y0, x[some] + tile.box.x0
        found.append(np.stack([y, x, np.full_like(y, channel), np.ones_like(y)], axis=1))
    return np.concatenate(found).astype(np.int32) if found else np.zeros((0, 4), np.int32)
