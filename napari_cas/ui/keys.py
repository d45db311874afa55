"""Keys of the panel, bound in the viewer so that they work while the mouse is on the canvas.

None of them is bound by napari's viewer or by its Labels layer. napari reads no key bindings from a
plugin's manifest (as of 0.9), so they are bound here while the panel is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_cas.ui.intents import Intents


class KeyBindings:
    """Binds the panel's keys and takes them away again.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are bound.
    intents : Intents
        What they do.
    """

    def __init__(self, viewer: ViewerModel, intents: Intents) -> None:
        self._viewer = viewer
        self.table: dict[str, Callable[[], None]] = {
            "N": intents.new_region,
            "Ctrl-Enter": intents.fine_tune,
            "Shift-Escape": intents.cancel,
            "Shift-L": intents.toggle_live,
            "A": intents.accept_under_cursor,
            "K": intents.take_kind,
            "G": intents.go_next,
            "PageUp": intents.previous_image,
            "PageDown": intents.next_image,
        }
        for key, action in self.table.items():
            viewer.bind_key(key, self._handler(action), overwrite=True)

    @staticmethod
    def _handler(action: Callable[[], None]) -> Callable[[Any], None]:
        def pressed(_viewer: object) -> None:
            action()

        return pressed

    def remove(self) -> None:
        """Give the keys back."""
        for key in self.table:
            self._viewer.bind_key(key, None, overwrite=True)
        self.table.clear()
