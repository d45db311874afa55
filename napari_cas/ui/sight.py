"""Which of the annotator's layers are in sight: those of the image shown, and none that covers it.

Only what stands between the annotator and the image to be painted is hidden, and it comes back when
the project is closed. So does a layer on which strokes would not land where the mouse is: meanwhile
layers of the project's own show the image. Such a layer is taken out of the list and not just
hidden, because hidden layers still give the viewer their sliders.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import psygnal
from napari.layers import Image

from napari_cas.ui import display
from napari_cas.ui.channels import keep_looks, other_colours, show_bands
from napari_cas.ui.looks import resemble
from napari_cas.ui.placing import misfit, plane_shown
from napari_cas.ui.where import camera, canvas_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari.components import LayerList, ViewerModel
    from napari.layers import Layer

    from napari_cas.store import ImageEntry

_OPAQUE = ("opaque", "translucent", "translucent_no_depth")
"""Blendings in which an image of full opacity leaves nothing to be seen of what is below."""


class Sight:
    """Remembers which layers show which image of the project, and which were hidden for another.

    Parameters
    ----------
    viewer : ViewerModel
        Holds the layers.

    Attributes
    ----------
    added : list of Layer
        The project's own layers that show the pixels; empty where the annotator's do.
    """

    replaced = psygnal.Signal(str)
    """Layers of the annotator were set aside: a sentence that says so."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._pixels: dict[str, list[Layer]] = {}
        self._results: dict[str, list[Layer]] = {}
        self._axes: dict[str, str] = {}
        self._hidden: list[Layer] = []
        self._aside: list[tuple[int, Layer]] = []
        self._entry: ImageEntry | None = None
        self.added: list[Layer] = []

    def own(self, name: str, layers: Sequence[Layer], axes: str = "") -> None:
        """Remember the annotator's layers that show the pixels of an image, and its axes."""
        self._pixels[name] = list(layers)
        self._axes[name] = axes

    def disown(self, names: Iterable[str]) -> None:
        """Forget the annotator's layers of other images than these: they may be added again."""
        self._pixels = {name: self._pixels[name] for name in names if name in self._pixels}

    def belongs(self, name: str, layer: Layer) -> None:
        """Remember a layer of the annotator's, such as objects, that says something of an image."""
        self._results.setdefault(name, []).append(layer)

    def owned(self) -> list[Layer]:
        """Return the annotator's layers that show pixels of the project."""
        return [layer for layers in self._pixels.values() for layer in layers]

    def shows(self, name: str) -> bool:
        """Return whether some layer of an image's pixels is in the viewer, to be seen or not."""
        return bool(self._pixels_of(name))

    def show(self, entry: ImageEntry) -> list[Layer]:
        """Show the pixels of an image, hide those of others and what covers it; return its layers.

        Parameters
        ----------
        entry : ImageEntry
            Shown by the annotator's layers, or by added ones if there are none or they do not fit.
        """
        self._entry = entry
        at = self._set_misfits_aside(entry)
        shown = self._turn_to(entry.name)
        if not shown:
            shown = self.added = self._own_layers(entry)
            for index, layer in enumerate(self.added):
                self._viewer.layers.insert(index, layer)
        dims = self._viewer.dims
        for axis, place in enumerate(at, dims.ndim - len(entry.label_axes)):
            dims.set_point(axis, place)  # the plane that was looked at
        self._hide([*self._covering(shown), *self._reaching_beyond(shown)])
        return list(shown)

    def may_be_elsewhere(self, shown: Sequence[Layer]) -> bool:
        """Return whether the view was not yet on these layers, or on others of other places, too.

        Parameters
        ----------
        shown : sequence of Layer
            Of one image, in the viewer.
        """
        others = (a for a in self._viewer.layers if isinstance(a, Image) and a not in shown)
        return bool(self.added) or any(not same_place(a, shown[0]) for a in others)

    def _own_layers(self, entry: ImageEntry) -> list[Layer]:
        """Return the project's layers, in the looks of the annotator's where each has its own."""
        made = display.image_layers(entry)
        models = self._pixels.get(entry.name, ())
        if len(made) == len(models):
            for layer, model in zip(made, models, strict=True):
                resemble(layer, model)
        elif any(model.rgb for model in models):
            show_bands(made)
        return list(made)

    def _set_misfits_aside(self, entry: ImageEntry) -> tuple[float, ...]:
        """Take layers out of the list that do not fit; return what plane was looked at, if any."""
        layers = self._present(self._pixels.get(entry.name, ()))
        axes = self._axes.get(entry.name, "")
        reasons = (misfit(a, axes, entry) or other_colours(a, axes, entry) for a in layers)
        shown = next(filter(None, reasons), "")
        if not shown:
            return ()
        at = plane_shown(layers[0], axes, entry, self._viewer.dims.point)
        for layer in reversed(layers):
            self._aside.append((self._viewer.layers.index(layer), layer))
            self._viewer.layers.remove(layer)
        whose = "Your layer comes" if len(layers) == 1 else "Your layers come"
        back = f"{whose} back when the project is closed."
        self.replaced.emit(f"Image {entry.name!r} is shown {shown}. {back}")
        return at

    def keep_looks(self) -> None:
        """Remember colours and contrast of the image shown in its project, which is open."""
        if self._entry is not None:
            layers = self._pixels_of(self._entry.name)
            keep_looks(self._entry, [layer for layer in layers if isinstance(layer, Image)])

    def let_go(self) -> None:
        """Do so for the last time: the project is about to be closed."""
        self.keep_looks()
        self._entry = None

    def leave(self) -> None:
        """Let the project's own layers be the annotator's, where there are no others to come back.

        Someone who closes the panel alone still wants to see the image.
        """
        if not self._aside:
            self.added = []

    def bring_back(self) -> None:
        """Put the annotator's layers that were set aside where they were."""
        while self._aside:
            index, layer = self._aside.pop()
            self._viewer.layers.insert(min(index, len(self._viewer.layers)), layer)

    def _turn_to(self, name: str) -> list[Layer]:
        """Show the layers of one image, hide those of others, and return those of its pixels."""
        for of in (self._pixels, self._results):
            for other, layers in of.items():
                if other != name:
                    self._hide(layers)
        pixels = self._present(self._pixels.get(name, ()))
        for layer in pixels:
            layer.visible = True
        self._show_again(self._results.get(name, ()))
        return pixels

    def is_covered(self, name: str) -> bool:
        """Return whether an image that was opened since lies over one of the project."""
        return bool(self._covering(self._pixels_of(name)))

    def is_buried(self, name: str, strokes: Layer | None) -> bool:
        """Return whether an image of the project lies over its strokes, as after a drag."""
        layers = self._viewer.layers
        if strokes is None or strokes not in layers:
            return False
        above = layers[layers.index(strokes) + 1 :]
        return any(layer in above and covers(layer, strokes) for layer in self._pixels_of(name))

    def uncover(self, name: str, strokes: Layer) -> None:
        """Hide images that were opened since and lie over one of the project; strokes come up."""
        self._hide(self._covering(self._pixels_of(name)))
        if self.is_buried(name, strokes):
            self._viewer.layers.move(self._viewer.layers.index(strokes), len(self._viewer.layers))

    def _pixels_of(self, name: str) -> list[Layer]:
        return self._present([*self._pixels.get(name, ()), *self.added])

    def _covering(self, pixels: Sequence[Layer]) -> list[Layer]:
        """Return images that cover these layers, all in the viewer, completely where they lie.

        Of an image of several channels, the lowest covers and the others are added to it.
        """
        layers = self._viewer.layers
        lowest = min(map(layers.index, pixels), default=len(layers))
        above = [layer for layer in layers[lowest + 1 :] if layer not in pixels]
        covering: list[Layer] = []
        for layer in above:
            if any(covers(layer, below) for below in pixels) or (
                _is_added(layer) and any(same_place(layer, other) for other in covering)
            ):
                covering.append(layer)
        return covering

    def _reaching_beyond(self, pixels: Sequence[Layer]) -> list[Layer]:
        """Return images in sight that these layers lie on in part: beside them no stroke lands."""
        others = (a for a in self._viewer.layers if isinstance(a, Image) and a not in pixels)
        return [a for a in others if a.visible and any(reaches_beyond(a, b) for b in pixels)]

    def forget(self) -> None:
        """Show everything again that was hidden here, and forget which layers show what."""
        self.bring_back()
        self._show_again(tuple(self._hidden))
        self._pixels.clear()
        self._axes.clear()
        self._results.clear()

    def _hide(self, layers: Iterable[Layer]) -> None:
        for layer in self._present(layers):
            if layer.visible:
                layer.visible = False
                self._hidden.append(layer)

    def _show_again(self, layers: Iterable[Layer]) -> None:
        for layer in layers:
            if any(layer is other for other in self._hidden):
                self._hidden = [other for other in self._hidden if other is not layer]
                layer.visible = True

    def _present(self, layers: Iterable[Layer]) -> list[Layer]:
        return [layer for layer in layers if layer in self._viewer.layers]


def covers(layer: Layer, below: Layer) -> bool:
    """Return whether nothing is to be seen of `below` where `layer`, above it, lies.

    Parameters
    ----------
    layer, below : Layer
        In the viewer.
    """
    if not (isinstance(layer, Image) and layer.visible and layer.opacity == 1):
        return False
    if str(layer.blending) not in _OPAQUE:
        return False
    return _overlap(layer, below)


def _is_added(layer: Layer) -> bool:
    return isinstance(layer, Image) and layer.visible and str(layer.blending) not in _OPAQUE


def _overlap(a: Layer, b: Layer) -> bool:
    (low, high), (least, most) = a.extent.world[:, -2:], b.extent.world[:, -2:]
    return bool(np.all(low < most) and np.all(least < high))


def reaches_beyond(layer: Layer, other: Layer) -> bool:
    """Return whether a layer lies partly on another one and partly beside it, by over a pixel.

    Parameters
    ----------
    layer, other : Layer
        In the viewer.
    """
    (low, high), (least, most) = layer.extent.world[:, -2:], other.extent.world[:, -2:]
    pixel = np.maximum(layer.extent.step[-2:], other.extent.step[-2:])
    beyond = np.any(low < least - pixel) or np.any(high > most + pixel)
    return bool(beyond) and _overlap(layer, other)


def same_place(a: Layer, b: Layer) -> bool:
    """Return whether two layers take the same rows and columns of the world.

    Parameters
    ----------
    a, b : Layer
        In the viewer.
    """
    return bool(np.allclose(a.extent.world[:, -2:], b.extent.world[:, -2:]))


def place(entry: ImageEntry) -> tuple[float, ...]:
    """Return where planes lie in the world: their size, that of a pixel, place of the first."""
    return (*entry.plane_size, *entry.label_scale[-2:], *entry.label_translation[-2:])


def fit(viewer: ViewerModel, layers: Sequence[Layer]) -> None:
    """Fit these layers to the canvas.

    Parameters
    ----------
    viewer : ViewerModel
        By itself, napari fits hidden layers of other sizes, too (before 0.9), or fails where
        another layer has more axes than these (0.9).
    layers : sequence of Layer
        What is to be seen.
    """
    # The axes of layers are the viewer's last ones.
    shown = [axis - viewer.dims.ndim for axis in viewer.dims.displayed]
    if len(shown) != 2 or not layers or -min(shown) > min(layer.ndim for layer in layers):
        viewer.reset_view()
        return
    corners = np.array([layer.extent.world[:, shown] for layer in layers])
    low, high = corners[:, 0].min(0), corners[:, 1].max(0)
    steps = np.array([layer.extent.step[shown] for layer in layers]).min(0)
    eye = camera(viewer)
    eye.center = (*eye.center[:-2], *(low + high) / 2)
    # napari's margin.
    eye.zoom = 0.95 * float((canvas_size(viewer) / (high - low + steps)).min())


@contextmanager
def selection_kept(layers: LayerList) -> Iterator[None]:
    """Give the annotator's active layer and selection back afterwards, as far as they are left."""
    active, chosen = layers.selection.active, set(layers.selection)
    yield
    kept = {layer for layer in chosen if layer in layers}
    if active in kept:
        layers.selection.active = active
    layers.selection.intersection_update(kept)
    layers.selection.update(kept)


@contextmanager
def view_kept(viewer: ViewerModel) -> Iterator[None]:
    """Give the annotator's place and zoom back afterwards.

    Parameters
    ----------
    viewer : ViewerModel
        Where a layer with an axis of its own, such as the probabilities' channel, comes or goes,
        napari fits all layers to the canvas, those of hidden images too.
    """
    eye = camera(viewer)
    before = eye.center, eye.zoom
    yield
    if (eye.center, eye.zoom) != before:
        eye.center, eye.zoom = before
