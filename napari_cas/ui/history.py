"""Undoing what napari alone would not undo, or not rightly.

Neither segments accepted as a region nor merged regions were painted by napari's brush, so that its
history does not know of them. And under a correction lies a prediction that may have been replaced
since: napari undoes a stroke by writing back the labels that were there before it, and an old
prediction, written back, would stand as a new correction. What the annotator means by undo is that
the correction goes: the present prediction shows again, and what the correction taught is taken
back from the regions.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.ui import where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_cas.protocol import Box, Plane
    from napari_cas.store import ImageEntry
    from napari_cas.store.indexing import Points
    from napari_cas.store.labels import LabelArray

_STEPS = 100
"""As many as napari keeps."""


@dataclass(slots=True)
class Step:
    """One stroke on the prediction, in coordinates of the whole image.

    Attributes
    ----------
    places : list of (plane, Box)
        What it touched.
    points : tuple of ndarray
        The pixels it changed.
    bare : ndarray of bool
        Which of them showed the prediction before, not an earlier correction.
    before, after : ndarray
        Their regions before and after the correction was copied there.
    said : ndarray
        Their corrections afterwards, as stored.
    """

    places: list[tuple[Plane, Box]]
    points: Points
    bare: NDArray[np.bool_]
    before: NDArray[np.integer]
    after: NDArray[np.integer]
    said: NDArray[np.integer]


class Corrections:
    """The strokes on the prediction layer that napari can undo or redo.

    Parameters
    ----------
    teach : callable
        Copies corrections on a plane within a box into the regions, those of a mask (h, w).
    """

    def __init__(self, teach: Callable[[Plane, Box, NDArray[np.bool_]], object]) -> None:
        self._teach = teach
        self._layer: Labels | None = None
        self._announced: Sequence[Any] = ()
        self._done: deque[Step] = deque(maxlen=_STEPS)
        self._undone: deque[Step] = deque(maxlen=_STEPS)

    def watch(self, layer: Labels, entry: ImageEntry, origin: tuple[int, int]) -> None:
        """Start over with a layer that has no history.

        Parameters
        ----------
        layer : Labels
            Shows the prediction, or a window of it.
        entry : ImageEntry
            Its image.
        origin : (int, int)
            Row and column of the layer's first pixel on the plane.
        """
        self.forget()
        self._layer, self._entry, self._origin = layer, entry, origin

    def forget(self) -> None:
        """Let go of the layer."""
        self._layer, self._announced = None, ()
        self._done.clear()
        self._undone.clear()

    def painted(self, atoms: Sequence[Any]) -> None:
        """Note and teach what napari has just put into its history.

        Parameters
        ----------
        atoms : sequence
            Value of napari's ``paint`` event.
        """
        self.written()
        self._announced = atoms
        # A stroke is announced when it ends; of a polygon napari tells first and writes then.
        if self._layer is not None and self._layer._staged_history:  # noqa: SLF001
            self.written()

    def written(self) -> None:
        """Note and teach what was announced and is in the corrections by now."""
        atoms, self._announced = self._announced, ()
        if self._layer is None or not atoms:
            return
        changed = [where.changed(atom, self._origin) for atom in atoms]
        points = tuple(np.concatenate(axis) for axis in zip(*(p for p, _ in changed), strict=True))
        old = np.concatenate([values for _, values in changed])
        # Not fresh: what the annotator saw under the brush, whatever the worker has written since.
        shown = self._entry.prediction_view.predicted_points(points)
        regions = self._entry.regions.read_points(points)
        places = where.touched(atoms, self._origin)
        said = self._entry.corrections.read_points(points)
        self._undone.clear()
        self._do(Step(places, points, shown == old, regions, regions, said))

    def replayed(self) -> bool:
        """Finish what napari may have undone or redone; return whether it has done so."""
        if self._layer is None:
            return False
        # No event tells of undo and redo.
        undo, redo = self._layer._undo_history, self._layer._redo_history  # noqa: SLF001
        done, undone = len(undo) - len(self._done), len(redo) - len(self._undone)
        if (done, undone) == (-1, 1):
            self._undo(self._layer, self._done.pop())
        elif (done, undone) == (1, -1):
            self._redo(self._layer, self._undone.pop())
        elif not undo and not redo:  # forgotten, as when the layer is locked
            self._done.clear()
            self._undone.clear()
        return (done, undone) in ((-1, 1), (1, -1))

    def _do(self, step: Step) -> None:
        self._done.append(step)
        for plane, box in step.places:
            self._teach(plane, box, _inside(step.points, plane, box))
        step.after = self._entry.regions.read_points(step.points)

    def _undo(self, layer: Labels, step: Step) -> None:
        self._undone.append(step)
        bare = tuple(axis[step.bare] for axis in step.points)
        self._entry.corrections.write_points(bare, np.zeros(bare[0].size, np.uint8))
        now = self._entry.regions.read_points(step.points)
        same = now == step.after  # but what was painted over it since stays
        back = tuple(axis[same] for axis in step.points)
        self._entry.regions.write_points(back, step.before[same])
        layer.refresh(extent=False)

    def _redo(self, layer: Labels, step: Step) -> None:
        self._done.append(step)
        # As said at the time: what the network says by now, too, would be no correction if painted
        # anew, and would neither teach nor stay.
        said = step.said > 0
        again = tuple(axis[said] for axis in step.points)
        self._entry.corrections.write_points(again, step.said[said])
        step.before = self._entry.regions.read_points(step.points)
        taught = step.said > 1  # a label erased to 0 teaches nothing
        step.after = np.where(taught, step.after, step.before)
        again = tuple(axis[taught] for axis in step.points)
        self._entry.regions.write_points(again, step.after[taught])
        layer.refresh(extent=False)


def _inside(points: Points, plane: Plane, box: Box) -> NDArray[np.bool_]:
    """Return as a mask (h, w) which pixels of a box on a plane are among some points."""
    *leading, rows, columns = points
    here = np.ones(rows.shape, bool)
    for axis, index in zip(leading, plane, strict=True):
        here &= axis == index
    mask = np.zeros(box.shape, bool)
    mask[rows[here] - box.y0, columns[here] - box.x0] = True
    return mask


@dataclass(slots=True)
class Cleared:
    """Corrections that one stroke on the regions took back, in coordinates of the whole image.

    Attributes
    ----------
    atom : object
        First part of the stroke in napari's history, handed on between undo and redo.
    points : tuple of ndarray
        The pixels.
    said : ndarray
        Their corrections, as stored.
    done : bool
        Whether the stroke stands.
    """

    atom: Any
    points: Points
    said: NDArray[np.integer]
    done: bool = True


class Overpainted:
    """The corrections that were painted over as regions: what is newer says more.

    Left beneath, they would go on to say what kind the new region is. They come back when the
    stroke is undone.
    """

    def __init__(self) -> None:
        self._steps: deque[Cleared] = deque(maxlen=_STEPS)

    def painted(
        self,
        entry: ImageEntry,
        atoms: Sequence[Any],
        origin: tuple[int, int],
        prediction: Labels | None,
    ) -> None:
        """Take back what a stroke on the regions was painted over.

        Parameters
        ----------
        entry : ImageEntry
            The image.
        atoms, origin
            As in :func:`napari_cas.ui.where.touched`, of the layer of the regions.
        prediction : Labels or None
            Shows the corrections.
        """
        parts = [where.changed(atom, origin)[0] for atom in atoms]
        if not parts:
            return
        points = tuple(np.concatenate(axis) for axis in zip(*parts, strict=True))
        said = entry.corrections.read_points(points)
        beneath = said > 0
        if not beneath.any():
            return
        gone = tuple(axis[beneath] for axis in points)
        self._steps.append(Cleared(atoms[0], gone, said[beneath]))
        _correct(entry, gone, np.zeros(gone[0].size, np.uint8), prediction)

    def replayed(
        self, entry: ImageEntry, regions: Labels | None, prediction: Labels | None
    ) -> None:
        """Follow what napari may have undone or redone on the layer of the regions."""
        if regions is None or not self._steps:
            return
        done, undone = (
            {id(atom) for step in history for atom in (step[0], step[-1])}  # turned round each time
            for history in (regions._undo_history, regions._redo_history)  # noqa: SLF001
        )
        # What is in neither is forgotten by napari, or was painted on another image.
        known = [step for step in self._steps if id(step.atom) in done | undone]
        self._steps = deque(known, maxlen=_STEPS)
        for step in known:
            if step.done == (id(step.atom) in done):
                continue
            step.done = not step.done
            now = entry.corrections.read_points(step.points)
            # What has been corrected there since the undo is painted over, too.
            step.said = np.where(now > 0, now, step.said)
            wanted = np.zeros_like(now) if step.done else step.said
            _correct(entry, step.points, wanted, prediction)


def _correct(
    entry: ImageEntry, points: Points, values: NDArray[np.integer], prediction: Labels | None
) -> None:
    entry.corrections.write_points(points, values)
    if prediction is not None:
        prediction.refresh(extent=False)


@dataclass(slots=True)
class Undo:
    """Whether what was written can be undone.

    Attributes
    ----------
    note : str
        What to say where it cannot, to go behind another sentence; else empty.
    """

    note: str = ""


@contextmanager
def undoable(
    layer: Labels, regions: LabelArray, places: Sequence[tuple[Plane, Box]], held: Box
) -> Iterator[Undo]:
    """Put what is written into the regions meanwhile into the history of their layer, as one step.

    Parameters
    ----------
    layer : Labels
        Shows the regions.
    regions : LabelArray
        What is written to.
    places : sequence of (plane, Box)
        Where, at most; no two of them overlap.
    held : Box
        What of a plane the layer holds: a change that goes beyond cannot be undone in it.
    """
    keys = [(*plane, *box.slices) for plane, box in places]
    before = [np.array(regions[key]) for key in keys]
    undo = Undo()
    yield undo
    after = [np.asarray(regions[key]) for key in keys]
    changed = [np.nonzero(old != new) for old, new in zip(before, after, strict=True)]
    if not any(rows.size for rows, _ in changed):
        return
    *planes, rows, columns = _joined(places, changed)
    rows, columns = rows - held.y0, columns - held.x0
    height, width = held.shape
    if min(rows.min(), columns.min()) < 0 or rows.max() >= height or columns.max() >= width:
        undo.note = " It reaches beyond the frame, so Ctrl+Z cannot undo it: erase what is wrong."
        return
    old, new = (
        np.concatenate([part[at] for part, at in zip(values, changed, strict=True)])
        for values in (before, after)
    )
    with layer.events.paint.blocker():  # nobody has painted
        layer._save_history(((*planes, rows, columns), old, new))  # noqa: SLF001 - no public way


def _joined(places: Sequence[tuple[Plane, Box]], changed: Sequence[Points]) -> Points:
    """Return as points of the whole image what changed within each of several boxes."""
    parts = [
        (*(np.full(rows.size, index) for index in plane), rows + box.y0, columns + box.x0)
        for (plane, box), (rows, columns) in zip(places, changed, strict=True)
    ]
    return tuple(np.concatenate(axis).astype(np.int32) for axis in zip(*parts, strict=True))
