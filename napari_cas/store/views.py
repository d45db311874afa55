"""Arrays that napari shows and paints but that are stored as something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import InputError
from napari_cas.store.indexing import IndexedArray, Points, Ranges
from napari_cas.store.naming import Naming

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_cas.protocol import Box, Plane
    from napari_cas.store.labels import LabelArray


class PredictionView(IndexedArray):
    """The prediction with the annotator's corrections on top.

    The worker process writes ``prediction``, the viewer's process writes ``corrections``; neither
    waits for the other. A correction is stored as the label plus one, so that 0 means "none" and
    erasing (label 0) can be a correction too. What is painted equal to the prediction is no
    correction and removes one, which is also what undo does.

    Parameters
    ----------
    prediction : LabelArray
        Labels 1..M, 0 where nothing is predicted yet.
    corrections : LabelArray
        0: none, v + 1: label v. Of the same shape.
    naming : Naming, optional
        Names of the labels; of labels with one name the lowest is shown.

    Notes
    -----
    napari writes back the whole box around a stroke. Pixels that do not differ from what it was
    shown are no corrections, so a write compares with the cached prediction, without looking
    whether the worker has just written a newer one.
    """

    def __init__(
        self, prediction: LabelArray, corrections: LabelArray, naming: Naming | None = None
    ) -> None:
        self.prediction = prediction
        self.corrections = corrections
        self.naming = naming or Naming()
        self.shape = prediction.shape
        self.dtype = prediction.dtype

    def __repr__(self) -> str:
        return f"<PredictionView {self.prediction.files.path.parent} {self.shape}>"

    def as_named_now(self) -> PredictionView:
        """Return the same view by the names of this moment, whatever names are given later."""
        return PredictionView(self.prediction, self.corrections, Naming(self.naming.names))

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        return self.prediction.chunks

    @property
    def writeable(self) -> bool:
        """Whether corrections can be painted."""
        return self.corrections.writeable

    @property
    def dirty(self) -> bool:
        """Whether a correction is not on disk yet."""
        return self.corrections.dirty

    def flush(self) -> list[tuple[Plane, Box]]:
        """Write the corrections to disk; see :meth:`LabelArray.flush`."""
        return self.corrections.flush()

    def invalidate(self, plane: Plane | None = None, box: Box | None = None) -> None:
        """Forget what was read of the prediction, because the worker wrote."""
        self.prediction.invalidate(plane, box)

    def painted_chunks(self) -> list[tuple[Plane, Box]]:
        """Return plane and rectangle of every chunk with a prediction or a correction."""
        both = {*self.prediction.painted_chunks(), *self.corrections.painted_chunks()}
        return sorted(both)

    def checked(self, value: ArrayLike) -> NDArray[Any]:
        """Return `value` as labels of this array's type, or raise `InputError`."""
        values = super().checked(value)
        if values.size and int(values.max()) == np.iinfo(self.dtype).max:
            raise InputError("Label out of range", expected="0 to 254", got="255")
        return values

    def read_box(self, ranges: Ranges) -> NDArray[Any]:
        """Return the elements at all combinations of `ranges`."""
        out = self.prediction.read_box(ranges)
        return self.naming.shown(_overlay(out, self.corrections.read_box(ranges)))

    def read_points(self, points: Points) -> NDArray[Any]:
        """Return the elements at `points`."""
        out = self.prediction.read_points(points)
        return self.naming.shown(_overlay(out, self.corrections.read_points(points)))

    def predicted_points(self, points: Points) -> NDArray[Any]:
        """Return what was last shown of the prediction alone at `points`, without corrections."""
        return self.naming.shown(self.prediction.read_points(points, fresh=False))

    def write_box(self, ranges: Ranges, values: NDArray[Any]) -> None:
        """Set the elements at all combinations of `ranges`."""
        predicted = self.naming.shown(self.prediction.read_box(ranges, fresh=False))
        corrected = self.corrections.read_box(ranges)
        wanted = self._corrected(predicted, corrected, values)
        self.corrections.write_box(ranges, wanted)

    def write_points(self, points: Points, values: NDArray[Any]) -> None:
        """Set the elements at `points`."""
        # Of equal points the last wins, and only that one may be compared with what was there.
        flat = np.ravel_multi_index(points, self.shape)[::-1]
        last = flat.size - 1 - np.unique(flat, return_index=True)[1]
        points, values = tuple(axis[last] for axis in points), values[last]
        predicted = self.predicted_points(points)
        corrected = self.corrections.read_points(points)
        wanted = self._corrected(predicted, corrected, values)
        self.corrections.write_points(points, wanted)

    def _corrected(
        self, predicted: NDArray[Any], corrected: NDArray[Any], values: NDArray[Any]
    ) -> NDArray[Any]:
        """Return the corrections after `values` were painted on `predicted`, as it is shown."""
        shown = self.naming.shown(_overlay(predicted.copy(), corrected))
        wanted = np.where(values == predicted, 0, values + 1).astype(corrected.dtype)
        return np.where(values == shown, corrected, wanted)


def _overlay(predicted: NDArray[Any], corrected: NDArray[Any]) -> NDArray[Any]:
    """Return `predicted` with corrections applied, in place."""
    where = corrected > 0
    predicted[where] = corrected[where] - 1
    return predicted


class Window(IndexedArray):
    """A rectangle of all planes of a large array, as an array of its own.

    A layer that is not multiscale is held by napari as one whole plane, which for 30,000 × 30,000
    labels is 3.6 GB. A window of what is looked at is small, and painting into it paints into the
    array behind it.

    Parameters
    ----------
    base : LabelArray or PredictionView
        The array behind.
    box : Box
        The rectangle; clipped to the array.
    """

    def __init__(self, base: LabelArray | PredictionView, box: Box) -> None:
        self.base = base
        self.box = box.clip(*base.shape[-2:])
        self.shape = (*base.shape[:-2], *self.box.shape)
        self.dtype = base.dtype

    @property
    def writeable(self) -> bool:
        """Whether painting is possible."""
        return self.base.writeable

    @property
    def dirty(self) -> bool:
        """Whether something painted into the array behind is not on disk yet."""
        return self.base.dirty

    def flush(self) -> list[tuple[Plane, Box]]:
        """Write what was painted to disk; boxes are those of the array behind."""
        return self.base.flush()

    def checked(self, value: ArrayLike) -> NDArray[Any]:
        """Return `value` as labels of this array's type, or raise `InputError`."""
        return self.base.checked(value)

    def _moved(self, ranges: Ranges) -> Ranges:
        offsets = (*(0 for _ in self.shape[:-2]), self.box.y0, self.box.x0)
        return tuple(
            range(r.start + o, r.stop + o, r.step) for r, o in zip(ranges, offsets, strict=True)
        )

    def _moved_points(self, points: Points) -> Points:
        return (*points[:-2], points[-2] + self.box.y0, points[-1] + self.box.x0)

    def read_box(self, ranges: Ranges) -> NDArray[Any]:
        """Return the elements at all combinations of `ranges`."""
        return self.base.read_box(self._moved(ranges))

    def write_box(self, ranges: Ranges, values: NDArray[Any]) -> None:
        """Set the elements at all combinations of `ranges`."""
        self.base.write_box(self._moved(ranges), values)

    def read_points(self, points: Points) -> NDArray[Any]:
        """Return the elements at `points`."""
        return self.base.read_points(self._moved_points(points))

    def write_points(self, points: Points, values: NDArray[Any]) -> None:
        """Set the elements at `points`."""
        self.base.write_points(self._moved_points(points), values)
