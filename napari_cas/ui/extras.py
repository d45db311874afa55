"""The optional layers: channel probabilities, and where the network hesitates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.metrics.uncertainty import normalised_entropy
from napari_cas.ui import display

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_cas.store import ImageEntry
    from napari_cas.ui.layers import LayerAdapter


class Uncertainty:
    """Normalised entropy of channel probabilities, computed where it is looked at.

    Unpredicted pixels (all probabilities 0) are 0.

    Parameters
    ----------
    probabilities : array-like of float, (K, *label_shape)
        In 0–1.
    """

    def __init__(self, probabilities: Any) -> None:
        self._probabilities = probabilities
        self.shape = tuple(probabilities.shape[1:])
        self.ndim = len(self.shape)
        self.dtype = np.dtype(np.float32)
        self.size = int(np.prod(self.shape))

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        key = key if isinstance(key, tuple) else (key,)
        return normalised_entropy(np.asarray(self._probabilities[(slice(None), *key)]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self[(slice(None),) * self.ndim]
        return whole if dtype is None else whole.astype(dtype)


def make(kind: str, entry: ImageEntry) -> Any:
    """Return the data of an optional layer, or None while there are no probabilities.

    Parameters
    ----------
    kind : {"probabilities", "uncertainty"}
        Which.
    entry : ImageEntry
        The image shown.
    """
    probabilities = entry.probabilities
    if probabilities is None:
        return None
    return Uncertainty(probabilities) if kind == "uncertainty" else probabilities


class Extras:
    """Shows the optional layers that the annotator has ticked, as far as there is data.

    Parameters
    ----------
    layers : LayerAdapter
        Where they are shown.
    """

    def __init__(self, layers: LayerAdapter) -> None:
        self._layers = layers
        self._shown: dict[str, Layer] = {}
        self.wanted: set[str] = set()

    def update(self, entry: ImageEntry | None) -> None:
        """Redraw the layers that are wanted, making those that could not be made before."""
        for kind in sorted(self.wanted) if entry is not None else ():
            data = None if entry is None else make(kind, entry)
            if entry is None or data is None:
                continue
            layer = self._shown.get(kind)
            if layer is not None:
                layer.data = data
            else:
                layer = self._shown[kind] = display.extra_layer(kind, data, entry)
                self._layers.insert(layer)

    def want(self, kind: str, *, on: bool) -> None:
        """Note whether the layer of a kind is wanted; take it away when not."""
        if on:
            self.wanted.add(kind)
            return
        self.wanted.discard(kind)
        layer = self._shown.pop(kind, None)
        if layer is not None:
            self._layers.remove(layer)

    def forget(self) -> None:
        """Another image is shown: its layers are yet to be made."""
        self._shown.clear()

    def removed(self, layer: Layer) -> str | None:
        """Note that the annotator deleted a layer; return its kind if it was ours."""
        for kind, shown in self._shown.items():
            if shown is layer:
                del self._shown[kind]
                self.wanted.discard(kind)
                return kind
        return None
