"""What the annotator paints and names: strokes, corrections, accepted segments, kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cas.protocol import Box
from napari_cas.session import merging, transfer
from napari_cas.session.base import SessionBase
from napari_cas.session.doubtful import nothing_doubtful

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_cas.protocol import Alike, Plane
    from napari_cas.session.doubtful import Doubtful, Place
    from napari_cas.session.saving import Saver


class AnnotatingSession(SessionBase):
    """The use-cases of painting and naming; :class:`Session` adds projects, learning, results."""

    _saver: Saver
    _doubtful: Doubtful

    def new_region(self) -> int:
        """Return the next unused region id on the current plane (1 on an empty one)."""
        entry, view = self._looking()
        return int(entry.regions.new_id(view.plane))

    def stroke_finished(self) -> None:
        """Save the stroke that has just been finished; train soon if live, else predict anew.

        A prediction follows strokes of known kinds also before it is trained on them. When the disk
        refuses, the stroke stays in memory, a message says so, and saving is tried again every few
        seconds and with every later stroke.
        """
        if self.writable and self.flush():
            (self._work.train_soon if self._live else self._work.follow_soon)()

    def corrected(self, plane: Plane, box: Box, fresh: NDArray[np.bool_] | None = None) -> None:
        """Save a correction painted on the prediction, and teach it.

        Corrected pixels inside `box` are copied into the painted regions, over strokes too (the
        correction is newer); a label erased to 0 teaches nothing.

        Parameters
        ----------
        plane : tuple of int
            Indices along the leading axes.
        box : Box
            On the plane, inside it.
        fresh : ndarray of bool, optional
            (h, w) of the box: the pixels that were painted just now, where others of the box were
            before; strokes over those stay. By default all.
        """
        if not self.writable or self._image is None:
            return
        box = Box(*box).clip(*self._image.plane_size)
        if transfer.corrections_to_regions(self._image, tuple(plane), box, fresh):
            self.regions_changed.emit()
        self.stroke_finished()

    def accept_as_region(self, label: int, at: tuple[int, int] | None = None) -> int:
        """Copy a predicted segment of the current plane into the painted regions.

        Parameters
        ----------
        label : int
            Label of the segment, 1..M.
        at : (int, int), optional
            Row and column on the plane: only the connected piece there; else all of the label.

        Returns
        -------
        int
            Id of the region: the painted one that mostly carries this label, else a new one.

        Raises
        ------
        RegionError
            There is no such segment.
        """
        self._opened(writing=True)
        entry, view = self._looking()
        region = transfer.accept(entry, view, label, at)
        self.regions_changed.emit()
        self.stroke_finished()
        return region

    def flush(self) -> bool:
        """Save all strokes and corrections; return whether everything is on disk."""
        return self._saver.flush()

    @property
    def alike(self) -> tuple[Alike, ...]:
        """Regions that look alike and were learnt as one in the last round."""
        return self._work.alike

    def merge_alike(self) -> int:
        """Give regions that look alike one id, on all planes and images; what is learnt stays.

        Returns
        -------
        int
            Regions that are gone.
        """
        project, groups = self._opened(writing=True), self.alike
        for group in groups:
            if group.image in project.images:
                merging.merge(project.image(group.image), group)
        self._work.alike = ()
        self.regions_changed.emit()
        self.stroke_finished()
        return sum(len(group.ids) - 1 for group in groups)

    def where_next(self) -> Place:
        """Return where to paint next: of all that is predicted, where the network hesitates most.

        Places that are painted by now are left out, and those returned before until all were.

        Raises
        ------
        CheckpointError
            Nothing is learnt or predicted yet, or everything is painted.
        ProjectError
            No project is open.
        """
        project = self._opened()
        if self._work.checkpoint is None:  # what was predicted is by a model that is forgotten
            raise nothing_doubtful()
        return self._doubtful.next(project)

    @property
    def names(self) -> dict[int, str]:
        """Names of the kinds that were found, by label; kinds of one name are shown as one."""
        return {} if self._project is None else dict(self._project.naming.names)

    def name_kind(self, label: int, name: str) -> None:
        """Name what the network has found, or with an empty name take the name away.

        Parameters
        ----------
        label : int
            Label of the prediction, 1..M.
        name : str
            What it is. Labels of one name are one wherever predictions are shown, split or
            exported: they have the lowest of their labels.

        Raises
        ------
        InputError
            The name is too long or cannot be printed.
        ProjectError
            No project is open, or it is read-only.
        StorageError
            The file system refuses.
        """
        self._rename({**self.names, label: name})

    def _drop_corrections(self) -> None:
        """Keep as strokes only what was painted on predictions of a model that is used no more."""
        transfer.clear_corrections(self._opened())
        self.flush()

    def _rename(self, names: Mapping[int, str]) -> None:
        """Replace all names, and tell if any has changed."""
        project, before = self._opened(writing=True), self.names
        (project.set_names if self.remembers else project.naming.set)(names)
        if self.names != before:
            self.names_changed.emit(self.names)
