"""Which of the annotator's layers are in sight: those of the image shown, and none that covers it.

Only what stands between the annotator and the image to be painted is hidden, and it comes back when
the project is closed.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image

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
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._pixels: dict[str, list[Layer]] = {}
        self._results: dict[str, list[Layer]] = {}
        self._hidden: list[Layer] = []

    def own(self, name: str, layers: Sequence[Layer]) -> None:
        """Remember the annotator's layers that show the pixels of the image `name`."""
        self._pixels[name] = list(layers)

    def belongs(self, name: str, layer: Layer) -> None:
        """Remember a layer of the annotator's, such as objects, that says something of an image."""
        self._results.setdefault(name, []).append(layer)

    def owned(self) -> list[Layer]:
        """Return the annotator's layers that show pixels of the project."""
        return [layer for layers in self._pixels.values() for layer in layers]

    def turn_to(self, name: str) -> list[Layer]:
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

    def uncover(self, pixels: Sequence[Layer]) -> None:
        """Hide images that cover these layers completely where they lie.

        Parameters
        ----------
        pixels : sequence of Layer
            What must be seen; in the viewer.
        """
        layers = self._viewer.layers
        lowest = min(layers.index(layer) for layer in pixels)
        above = [layer for layer in layers[lowest + 1 :] if layer not in pixels]
        self._hide(layer for layer in above if any(covers(layer, below) for below in pixels))

    def forget(self) -> None:
        """Show everything again that was hidden here, and forget which layers show what."""
        self._show_again(tuple(self._hidden))
        self._pixels.clear()
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
    (low, high), (least, most) = layer.extent.world[:, -2:], below.extent.world[:, -2:]
    return bool(np.all(low < most) and np.all(least < high))


def place(entry: ImageEntry) -> tuple[float, ...]:
    """Return where the planes of an image lie in the world: their size and that of a pixel."""
    return (*entry.plane_size, *entry.label_scale[-2:])


def fit(viewer: ViewerModel, layers: Sequence[Layer]) -> None:
    """Fit these layers to the canvas.

    Parameters
    ----------
    viewer : ViewerModel
        Before napari 0.9 it fits all its layers, hidden ones of other sizes too.
    layers : sequence of Layer
        What is to be seen.
    """
    chosen = "layers" in inspect.signature(viewer.reset_view).parameters
    viewer.reset_view(**({"layers": list(layers)} if chosen else {}))


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
