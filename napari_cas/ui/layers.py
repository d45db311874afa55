"""The one place that touches the viewer's layers: shows a project's image, strokes and prediction.

The annotator owns the layer list. So layers are held as objects, never looked up by name; any of
them may have been renamed, hidden, reordered or deleted; and nothing here changes the active layer,
the selection, a mode or a visibility that the annotator chose, but for what hides the image to be
painted (`sight.py`).
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import psygnal
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_cas.errors import RegionError
from napari_cas.store.indexing import IndexedArray
from napari_cas.ui import display, where
from napari_cas.ui.brushes import Brushes
from napari_cas.ui.frame import Frame
from napari_cas.ui.history import Corrections, Overpainted, Undo, undoable
from napari_cas.ui.looks import Look, reveal
from napari_cas.ui.news import News
from napari_cas.ui.sight import Sight, fit, place, selection_kept, view_kept
from napari_cas.ui.viewpoint import Viewpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_cas.protocol import Box, Plane, Tile
    from napari_cas.store import ImageEntry


class LayerAdapter(Viewpoint):
    """Turns a project's image into layers and what happens to them into signals.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer, or the proxy of it that napari gives to plugins.
    """

    painted = psygnal.Signal()
    """A stroke was committed, undone or redone in the regions layer."""
    corrected = psygnal.Signal(object, object, object)
    """The prediction was painted: plane, Box, and where in the box, (h, w) bool."""
    chosen_changed = psygnal.Signal()
    """Other image layers are selected, or there are other layers."""
    region_chosen = psygnal.Signal()
    """The brush paints another region, or the layer was replaced."""
    view_moved = psygnal.Signal()
    """Another plane or another part of the image is shown."""
    result_removed = psygnal.Signal(object)
    """The annotator deleted a layer that was shown with `insert`."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self._entry: ImageEntry | None = None
        self._news = News()
        self.sight = Sight(self._viewer)
        self._looks: dict[str, Look] = {}
        self._corrections = Corrections(self.corrected.emit)
        self._overpainted = Overpainted()
        self._brushes = Brushes()
        self._quiet = False
        dims, eye = self._viewer.dims.events, where.camera(self._viewer).events
        moves = (dims.current_step, dims.ndisplay, dims.order, eye.center, eye.zoom)
        self._sources = [
            (self._viewer.layers.selection.events.changed, self._selection_changed),
            (self._viewer.layers.events.inserted, self._selection_changed),
            (self._viewer.layers.events.reordered, self._selection_changed),
            (self._viewer.layers.events.removing, self._removing),
            (self._viewer.layers.events.removed, self._removed),
            *((event, self._moved) for event in moves),
        ]
        for event, listener in self._sources:
            event.connect(listener)

    def close(self, *, leave: bool = True) -> None:
        """Stop listening.

        Parameters
        ----------
        leave : bool
            Whether regions and prediction stay in the viewer, as is right where its window closes,
            too. Else they would hide those of the project when it is opened again.
        """
        for event, listener in self._sources:
            event.disconnect(listener)
        self._sources.clear()
        for layer in (self.regions, self.prediction):
            if layer is not None and layer in self._viewer.layers:
                layer.editable = False
            if leave:
                self._forget(layer)
        if not leave:  # the annotator goes on without the panel
            self.sight.leave()
            self._take_away()
            self.sight.bring_back()
        self._entry = None

    # -- what the annotator has open ------------------------------------------------------------

    def taken(self) -> list[Layer]:
        """Return the layers that show pixels of the project."""
        return [*self.sight.owned(), *self.sight.added]

    def add_image(self, data: Any, options: dict[str, Any]) -> None:
        """Add an image layer that is the annotator's from now on, and select it alone."""
        layer = Image(data, **options)
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = layer

    # -- showing an image of the project --------------------------------------------------------

    def show(self, entry: ImageEntry | None, *, predicted: bool, writable: bool = True) -> None:
        """Swap the layers shown for those of another image, or take ours away with None.

        Parameters
        ----------
        entry : ImageEntry or None
            Image of the project.
        predicted : bool
            Whether there may be a prediction to show.
        writable : bool
            Whether strokes can be saved.
        """
        with self._silently():
            self._take_away()
            before, self._entry = self._entry, entry
            if entry is None:
                self.sight.forget()
                self._brushes.forget()
                return
            self.frame = Frame(entry.plane_size, entry.label_scale, entry.label_translation)
            shown = self.sight.show(entry)
            self.regions = self._add_regions(entry, writable)
            if predicted:
                self.ensure_prediction()
            self._viewer.layers.selection.active = self.regions
            first = before is None and self.sight.may_be_elsewhere(shown)
            if first or (before is not None and place(before) != place(entry)):
                fit(self._viewer, shown)
        self.region_chosen.emit()
        self.view_moved.emit()

    def _take_away(self) -> None:
        self.sight.keep_looks()
        ours = self._let_go("regions"), self._let_go("prediction")
        theirs = *self.sight.added, *self._results
        gone = [layer for layer in (*ours, *theirs) if layer in self._viewer.layers]
        self.sight.added, self._results = [], []
        if not gone:  # napari would collect garbage all the same: a third of a second
            return
        # At once: else napari shows the controls of each layer and collects garbage after each.
        self._viewer.layers.selection.difference_update(gone)
        together = getattr(self._viewer.layers, "batched_update", nullcontext)
        with view_kept(self._viewer), together():
            for layer in gone:
                self._viewer.layers.remove(layer)

    def ensure_regions(self, *, writable: bool = True) -> None:
        """Bring regions and image back if they were deleted, and make regions active to paint."""
        if self._entry is None:
            return
        with self._silently():
            if not self.sight.shows(self._entry.name):
                self.sight.show(self._entry)
            if self.regions is None:
                self.regions = self._add_regions(self._entry, writable)
        self._viewer.layers.selection.active = self.regions
        self.region_chosen.emit()

    def _add_regions(self, entry: ImageEntry, writable: bool) -> Labels:
        layer = display.regions_layer(entry, self.frame)
        self._listen(layer, self._region_painted)
        self._viewer.add_layer(layer)
        plane = where.plane_of(layer, self._viewer.dims.point)
        layer.selected_label = self._brushes.recall(entry, plane)
        layer.events.selected_label.connect(self._label_chosen)
        layer.events.mode.connect(self._selection_changed)
        reveal(layer, self._looks.get("regions"), "paint")
        layer.editable = writable and entry.regions.writeable
        return layer

    def ensure_prediction(self) -> None:
        """Put the prediction layer under the regions unless it is there."""
        if self._entry is None or self.prediction is not None:
            return
        entry = self._entry
        layer = display.prediction_layer(entry, self.frame)
        self._listen(layer, self._prediction_painted)
        with self._silently(), selection_kept(self._viewer.layers):
            self._viewer.layers.insert(self._below_regions(), layer)
            reveal(layer, self._looks.get("prediction"), "pan_zoom")
        self.prediction = layer
        self._news.forget()
        self._corrections.watch(layer, entry, self.frame.origin)

    def follow_view(self) -> None:
        """Show and paint another window of a huge plane, if the view has left the present one."""
        if self._entry is None or self.frame.whole or not where.is_flat(self._viewer.dims):
            return
        if QApplication.mouseButtons() != Qt.MouseButton.NoButton:
            self.view_moved.emit()  # not in the middle of a stroke: later
            return
        if self.frame.follow(where.seen(self._viewer, self.frame)):
            self._hold_frame(self._entry)
        self.frame.outline(self.regions)

    def _hold_frame(self, entry: ImageEntry) -> None:
        self._corrections.forget()
        self.frame.hold(self.regions, entry.regions)
        self.frame.hold(self.prediction, entry.prediction_view)
        if self.prediction is not None:
            self._corrections.watch(self.prediction, entry, self.frame.origin)

    def refresh(self, tile: Tile) -> bool:
        """Redraw the prediction if `tile`, just written, is on the plane shown and new; say so."""
        if self._entry is None or tile.image != self._entry.name:
            return False
        if self.prediction is None:
            self.ensure_prediction()
            return True
        if tile.plane != self.plane():
            self._news.forget()
            return False
        if new := self._news.found(self._entry, tile, self.frame.box):
            self.prediction.refresh(extent=False)
        return new

    def refresh_regions(self) -> None:
        """Redraw the regions after the session has changed them."""
        if self.regions is not None:
            self.regions.refresh(extent=False)

    # -- more layers ----------------------------------------------------------------------------

    def insert(self, layer: Layer) -> None:
        """Show a result of ours under the regions; the adapter takes it away with the image."""
        self._results.append(layer)
        with self._silently(), selection_kept(self._viewer.layers), view_kept(self._viewer):
            self._viewer.layers.insert(self._below_regions(), layer)

    def remove(self, layer: Layer) -> None:
        """Take a result of ours away."""
        with self._silently(), selection_kept(self._viewer.layers), view_kept(self._viewer):
            self._results = [other for other in self._results if other is not layer]
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def drop_results(self) -> None:
        """Take away what a model said that is forgotten now."""
        for layer in (self.prediction, *self._results):
            if layer is not None:
                self.remove(layer)

    def give(self, layer: Layer) -> None:
        """Add a layer on the image shown that is the annotator's from now on, under the strokes."""
        if self._entry is not None:
            self.sight.belongs(self._entry.name, layer)
        with selection_kept(self._viewer.layers):
            self._viewer.layers.insert(self._below_regions(), layer)

    # -- painting -------------------------------------------------------------------------------

    def choose_region(self, region: int) -> None:
        """Give the brush another region id, and make the regions layer active, brush in hand."""
        self.ensure_regions()
        if self._entry is not None and self.regions is not None:
            self.sight.uncover(self._entry.name, self.regions)
            self.regions.selected_label = region
            self.regions.visible = True  # napari takes the brush away from a hidden layer
            if str(self.regions.mode) not in ("paint", "polygon", "fill"):
                self.regions.mode = "paint"

    def recall_region(self) -> None:
        """Give the brush the region that it last held on the plane shown, else an unused one."""
        if self._entry is not None and self.regions is not None:
            self.regions.selected_label = self._brushes.recall(self._entry, self.plane())

    def undoable(self, places: Sequence[tuple[Plane, Box]]) -> AbstractContextManager[Undo]:
        """Let napari undo what else than the brush writes into the regions, there and meanwhile."""
        if self._entry is None or self.regions is None:
            return nullcontext(Undo())
        return undoable(self.regions, self._entry.regions, places, self.frame.box)

    # -- what happens to the layers -------------------------------------------------------------

    def _listen(self, layer: Labels, painted: Callable[..., None]) -> None:
        layer.events.paint.connect(painted)
        layer.events.set_data.connect(self._drawn)
        layer.events.labels_update.connect(self._drawn)
        layer.events.data.connect(self._replaced)

    def _region_painted(self, event: Any) -> None:
        if self._entry is not None:
            origin = self.frame.origin
            self._overpainted.painted(self._entry, event.value, origin, self.prediction)
            self._brushes.hold(self._entry, self.plane(), self.regions)
        self.painted.emit()

    def _prediction_painted(self, event: Any) -> None:
        self._corrections.painted(event.value)

    def _drawn(self, _event: object = None) -> None:
        """Save undo, redo and polygons: napari announces them not at all, or before they are."""
        if self._entry is None:
            return
        self._corrections.written()
        self._overpainted.replayed(self._entry, self.regions, self.prediction)
        if self._corrections.replayed():
            self.refresh_regions()
            self.painted.emit()
        elif self._entry.regions.dirty and not where.in_stroke(self.regions):
            self.painted.emit()

    def _replaced(self, event: Any) -> None:
        """Keep the project's array in its layer: in another one, nothing painted would be saved."""
        layer, entry = event.source, self._entry
        if entry is None or isinstance(layer.data, IndexedArray):
            return
        ours = entry.regions if layer is self.regions else entry.prediction_view
        layer.data = self.frame.data(ours)
        raise RegionError(
            f"Layer {layer.name!r} shows what the project keeps, and cannot show another array",
            todo="Write into it, as in layer.data[...] = values, or add a layer of its own.",
        )

    def _label_chosen(self, _event: object = None) -> None:
        if self.regions is not None and self.regions.selected_label < 0:
            self.regions.selected_label = 0  # napari offers all int32 labels; regions have none < 0
        self._brushes.hold(self._entry, self.plane(), self.regions)
        self.region_chosen.emit()

    def _selection_changed(self, _event: object = None) -> None:
        if not self._quiet:
            self.chosen_changed.emit()

    def _moved(self, _event: object = None) -> None:
        if self._entry is not None:
            self.view_moved.emit()

    def _removing(self, _event: object) -> None:
        self.sight.keep_looks()  # napari may be taking all layers out, before its window closes

    def _removed(self, event: Any) -> None:
        """Let go of a layer that the annotator deleted."""
        layer = event.value
        if layer is self.regions:
            self._let_go("regions")
            self.region_chosen.emit()
        elif layer is self.prediction:
            self._let_go("prediction")
        self.sight.added = [other for other in self.sight.added if other is not layer]
        if any(other is layer for other in self._results) and not self._quiet:
            self._results = [other for other in self._results if other is not layer]
            self.result_removed.emit(layer)
        self._selection_changed()

    def _let_go(self, role: str) -> Labels | None:
        """Keep the looks of a layer for the next one of its role, and stop listening to it."""
        layer: Labels | None = getattr(self, role)
        if layer is not None and self._entry is not None:
            self._looks[role] = Look.of(layer, self._entry.plane_size)
        self._forget(layer)
        setattr(self, role, None)
        return layer

    def _forget(self, layer: Labels | None) -> None:
        if layer is None:
            return
        layer.events.paint.disconnect()
        layer.events.set_data.disconnect(self._drawn)
        layer.events.labels_update.disconnect(self._drawn)
        layer.events.data.disconnect(self._replaced)
        if layer is self.prediction:
            self._corrections.forget()
        else:
            layer.events.selected_label.disconnect(self._label_chosen)
            layer.events.mode.disconnect(self._selection_changed)

    # -- helpers --------------------------------------------------------------------------------

    @contextmanager
    def _silently(self) -> Iterator[None]:
        """Keep our own changes of the list from looking like the annotator's."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before
        self._selection_changed()
