"""The kinds that the prediction shows: counted, named, and looked at one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.store.colors import label_color
from napari_cas.ui.panels.kinds import Kind

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_cas.session import Session
    from napari_cas.store.naming import Naming
    from napari_cas.ui.layers import LayerAdapter
    from napari_cas.ui.panels.kinds import KindsView

_SAMPLED = 512
"""Every so many pixels are counted that this many rows and columns are: a plane may be huge."""

_LEAST = 0.001
"""A kind without a name that is less of the plane is not worth a row."""


class Kinds:
    """Shows which kinds there are on the plane shown, and what they are called.

    Parameters
    ----------
    session, layers, view : Session, LayerAdapter, KindsView
        Who knows the names, where the prediction is shown, and where its kinds are.
    """

    def __init__(self, session: Session, layers: LayerAdapter, view: KindsView) -> None:
        self.session, self.layers, self.view = session, layers, view
        self._known: tuple[int, ...] = ()

    def know(self, labels: tuple[int, ...]) -> None:
        """Note which kinds the model tells apart, on this plane or not: a brush may need them."""
        self._known = labels

    def update(self) -> None:
        """Count the kinds on the plane shown anew."""
        naming = None if self.session.project is None else self.session.project.naming
        layer = self.layers.prediction
        if naming is None or layer is None or self.session.checkpoint is None:
            self.view.show_kinds(())
            return
        if not layer.show_selected_label:
            self.view.show_all()  # the layer is another, or was told so among its own controls
        shares = _shares(_sampled(layer, self.layers.plane()))
        found = {label for label, share in shares.items() if share >= _LEAST}
        listed = sorted(found | naming.names.keys() | {*self._known})
        kinds = [_kind(label, shares, naming) for label in listed]
        self.view.show_kinds(kinds, writable=self.session.writable)

    def renamed(self) -> None:
        """Show the prediction by its new names."""
        layer, entry = self.layers.prediction, self.session.image
        if layer is not None and entry is not None:
            layer.features = features(entry.naming)
            layer.refresh(extent=False)
            if layer.show_selected_label and self.view.alone:
                self.single_out(self.view.alone)  # another label may stand for it now
        self.update()

    def show_all(self) -> None:
        """Show all kinds of the prediction again, if one was singled out."""
        self.view.show_all()
        self.single_out(0)

    def single_out(self, label: int) -> None:
        """Show one kind of the prediction alone, or all with 0."""
        layer, entry = self.layers.prediction, self.session.image
        if layer is None or entry is None:
            return
        if label:
            layer.selected_label = entry.naming.one(label)
            layer.visible = True
        layer.show_selected_label = bool(label)


def features(naming: Naming) -> dict[str, list[object]]:
    """Return what napari says of a label under the mouse, its name."""
    return {"index": list(naming.names), "name": list(naming.names.values())}


def _sampled(layer: Labels, plane: tuple[int, ...]) -> NDArray[np.integer]:
    """Return some of the labels that a layer holds of a plane, evenly spaced."""
    steps = (slice(None, None, max(1, -(-size // _SAMPLED))) for size in layer.data.shape[-2:])
    return np.asarray(layer.data[(*plane, *steps)])


def _shares(labels: NDArray[np.integer]) -> dict[int, float]:
    """Return the share of each label among the pixels that have one."""
    counts = np.bincount(labels.ravel())
    counts[:1] = 0
    total = max(int(counts.sum()), 1)
    return {int(label): counts[label] / total for label in np.flatnonzero(counts)}


def _kind(label: int, shares: dict[int, float], naming: Naming) -> Kind:
    one = naming.one(label)
    return Kind(label, naming.name(label), label_color(one), shares.get(label, 0.0), one)
