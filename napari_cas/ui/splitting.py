"""Connected pieces of the prediction, as a Labels layer of the annotator's own."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from napari.layers import Labels

from napari_cas.ui import display

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari_cas.session.background import BackgroundSession
    from napari_cas.session.objects import Objects
    from napari_cas.store import ImageEntry
    from napari_cas.ui.answers import Answers
    from napari_cas.ui.layers import LayerAdapter

_ALL = 0.99
"""From this share of an image on, all of it counts as predicted."""


class Splitting:
    """Splits in a thread and shows what was found.

    Parameters
    ----------
    session, layers, answers : BackgroundSession, LayerAdapter, Answers
        Who is asked, where the objects go, and who tells.
    """

    def __init__(self, session: BackgroundSession, layers: LayerAdapter, answers: Answers) -> None:
        self.session, self.layers, self.answers = session, layers, answers
        self._under_way: Future[Objects] | None = None
        self._latest: WeakKeyDictionary[ImageEntry, ref[Labels]] = WeakKeyDictionary()

    def split(self) -> None:
        """Show the connected pieces of the prediction as a new Labels layer.

        Of all labels, the background's too: only the annotator knows which one that is. Of one
        where the prediction layer is selected, with this label picked.
        """
        entry, label = self.session.image, self.layers.predicted_label() or None
        self.answers.forget()
        if self._under_way is not None and not self._under_way.done():
            self.answers.show_news("Still splitting into objects…")
        elif entry is not None:
            share = self._predicted(entry)
            self._under_way = self.session.split_into_objects_later(label=label)
            self._under_way.add_done_callback(
                lambda done: (
                    None if done.exception() else self._show(entry, done.result(), share, label)
                )
            )

    def _predicted(self, entry: ImageEntry) -> float:
        """Return the share of an image that is predicted, as far as a count would depend on it."""
        if self.session.config.predict.skip_below or entry.intensity.missing:
            return 1.0  # holes are what was asked for
        area = sum(prod(box.shape) for _, box in entry.prediction.painted_chunks())
        return area / prod(entry.label_shape)

    def _show(self, entry: ImageEntry, objects: Objects, share: float, label: int | None) -> None:
        if self.session.image is not entry:
            again = f"Go back to {entry.name} and split again to see its objects."
            self.answers.show_news(f"Another image is shown by now. {again}")
            return
        data = [objects.labels, *objects.coarser] if objects.coarser else objects.labels
        layer = Labels(
            data,
            name=f"{entry.name} objects{_of(label)}",
            **display.place(entry),
            visible=False,  # until it is in the viewer: drawn once, not at each step
        )
        self._hide_latest(entry)
        self._latest[entry] = ref(layer)
        self.layers.give(layer)
        layer.visible = True
        self.answers.show_news(_sentence(objects.count, share, label))

    def _hide_latest(self, entry: ImageEntry) -> None:
        """Hide the objects found before: seen through the new ones, colours would mix."""
        found = self._latest.get(entry)
        older = None if found is None else found()
        if older is not None:
            older.visible = False  # no more: the annotator may have edited them


def _of(label: int | None) -> str:
    return "" if label is None else f" of label {label}"


def _sentence(count: int, share: float, label: int | None) -> str:
    """Return how many objects were found, and where only part of the image was looked at."""
    found = f"{count} object{'s' * (count != 1)}{_of(label)}"
    if share > _ALL:
        one = "" if label else " To split one label only, pick it in the prediction layer first."
        return f"{found}, in a new Labels layer.{one}"
    part = f"{max(100 * share, 1):.0f} %"
    return (
        f"{found} on the {part} of the image that is predicted. For the rest, press Predict all "
        "and split again."
    )
