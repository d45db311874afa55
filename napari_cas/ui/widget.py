"""The napari widget: makes session, layers and panel, connects them, and ends them."""

from __future__ import annotations

import importlib
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication, QMainWindow, QSizePolicy, QVBoxLayout, QWidget

from napari_cas.errors import StorageError
from napari_cas.session.background import BackgroundSession
from napari_cas.ui.answers import Answers
from napari_cas.ui.dispatch import QtDispatcher
from napari_cas.ui.intents import Intents
from napari_cas.ui.keys import KeyBindings
from napari_cas.ui.layers import LayerAdapter
from napari_cas.ui.panel import Panel

if TYPE_CHECKING:
    import napari.viewer

    from napari_cas.jobs import Executor
    from napari_cas.store import ImageEntry

VIEW_MILLISECONDS = 120
"""How long the view must rest before the session is told of it."""

_panels: weakref.WeakSet[AnnotationWidget] = weakref.WeakSet()


class AnnotationWidget(QWidget):
    """The panel docked into napari.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer that the panel is docked in.
    executor : Executor, optional
        Where training runs; by default a worker process of this machine.
    """

    def __init__(self, viewer: napari.viewer.Viewer, *, executor: Executor | None = None) -> None:
        super().__init__()
        self.viewer = getattr(viewer, "__wrapped__", viewer)
        self.dispatch = QtDispatcher()
        self.session = BackgroundSession(executor=executor, dispatch=self.dispatch)
        self.layers = LayerAdapter(self.viewer)
        self.panel = Panel(self.session.config)
        # Expanding, or napari fills the lower half of the dock with a stretch.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.panel)
        self.settled = QTimer(self)
        self.settled.setSingleShot(True)
        self.settled.setInterval(VIEW_MILLISECONDS)
        self.answers = Answers(self.session, self.layers, self.panel)
        self.intents = Intents(self.session, self.layers, self.panel, self.answers)
        self.keys = KeyBindings(self.viewer, self.intents)
        self._closed = False
        self._window: QWidget | None = None
        self._connect()
        if executor is None:
            self.intents.recall_machine()
        self._follow_theme()
        threading.Thread(target=_import_ahead, name="napari-cas imports", daemon=True).start()
        _panels.add(self)
        # Should Qt delete the panel without any of the events below, no process may be left behind.
        self.destroyed.connect(partial(_end, self.session, self.dispatch, self.answers))

    def _connect(self) -> None:
        """Connect intents of the views, events of the layers and signals of the session."""
        self.intents.connect()
        self.answers.connect()
        self.layers.view_moved.connect(self._view_moved)
        self.settled.timeout.connect(self.intents.view_settled)
        self.viewer.events.theme.connect(self._follow_theme)
        self.session.image_changed.connect(self._take_keys)
        self.session.closing.connect(self.layers.sight.let_go)
        self.answers.show_chosen()

    def _view_moved(self) -> None:
        self.settled.start()

    def _take_keys(self, entry: ImageEntry | None) -> None:
        """Give napari the keys with the brush: its layer list would keep Page Down to itself."""
        if entry is not None and self._window and not self.isAncestorOf(self._window.focusWidget()):
            self._window.setFocus()

    def _follow_theme(self, _event: object = None) -> None:
        self.panel.set_theme(str(self.viewer.theme))

    # -- the end --------------------------------------------------------------------------------

    def event(self, event: QEvent) -> bool:
        """Notice being docked, so as to hear of the window's end, and being taken out for good."""
        if event.type() == QEvent.Type.Show and self._window is None:
            self._window = self.window()
            self._window.installEventFilter(self)
        elif event.type() == QEvent.Type.ParentChange and self._window and self.parent() is None:
            self.shut_down()
        return bool(super().event(event))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Shut down with the window: a docked widget gets no close event of its own."""
        if event.type() == QEvent.Type.Close and watched is self._window and watched is not self:
            # Later, and only if the window did close: the annotator may be asked and refuse.
            QTimer.singleShot(0, self._shut_down_with_window)
        return bool(super().eventFilter(watched, event))

    def closeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Shut down when shown as a window of its own."""
        self.shut_down()
        super().closeEvent(event)

    def _shut_down_with_window(self) -> None:
        if self._window is not None and not self._window.isVisible():
            self.shut_down()
            self._finish_exports()

    def _finish_exports(self) -> None:
        """Wait for exports before the process ends, which napari's last window may do next.

        While there is another window, nobody is held up: they go on until the end of Qt's loop.
        """
        app, wait = QApplication.instance(), self.session.wait_for_exports
        if app is not None and any(map(_is_window, app.topLevelWidgets())):
            # Not the method itself: of an object that is none of Qt's, it would not be kept.
            app.aboutToQuit.connect(lambda: wait())  # noqa: PLW0108
        else:
            wait()

    def shut_down(self) -> None:
        """Save everything and end the worker; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        _panels.discard(self)
        self.settled.stop()
        self.viewer.events.theme.disconnect(self._follow_theme)
        self.keys.remove()
        self.answers.close()
        self.layers.sight.keep_looks()  # the session is closed after the layers
        self.layers.close(leave=self._window is None or not self._window.isVisible())
        self.dispatch.close()
        error = _close(self.session)
        if error is not None and self._window is not None and self._window.isVisible():
            show_error(str(error))


def _is_window(widget: QWidget) -> bool:
    return isinstance(widget, QMainWindow) and widget.isVisible()


def _close(session: BackgroundSession) -> StorageError | None:
    """End a session; return why its strokes cannot be saved, if so: nobody is left to catch it."""
    try:
        session.close()
    except StorageError as error:
        return error
    return None


def _import_ahead() -> None:
    """Import what the first click will need, while the annotator is still looking around."""
    for name in (
        "scipy.linalg",
        "napari_cas.store",
        "loky",
        "dask.array",
        # napari imports these when the first Labels layer is made and when it is filled.
        "pandas",
        "skimage.color",
        "skimage.segmentation",
        "napari_cas.store.export",
    ):
        importlib.import_module(name)


def _end(session: BackgroundSession, dispatch: QtDispatcher, answers: Answers, *_: object) -> None:
    answers.disconnect()  # there is no panel any more to show anything in
    dispatch.close()
    _close(session)


def open_panels() -> list[AnnotationWidget]:
    """Return the panels that are open, in all viewers."""
    return list(_panels)
