"""The project's menu and its dialogs, with the mouse and the keyboard, in the real viewer."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from napari_cas.jobs import LocalExecutor
from training.driving import Driver

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(600)]

WAIT = 120


class Dialogs:
    """A person who opens the project's menu and fills in the dialog that comes.

    A menu and a dialog hold up whoever opens them, so that what happens inside is left to timers.
    """

    def __init__(self, widget, driver):
        self.widget, self.driver = widget, driver
        self.titles = []

    def choose(self, text, path=None):
        """Click an entry of the project's menu; type `path` into the dialog that it opens.

        Of a question, the button of this name is pressed.
        """
        from qtpy.QtCore import QTimer

        view = self.widget.panel.project
        QTimer.singleShot(200, lambda: self._pick(view.menu_button.menu(), text, path))
        self.driver.click(view.menu_button)

    def press(self, button, path):
        """Click a button and type `path` into the dialog that it opens."""
        self._answer_soon(path)
        self.driver.click(button)

    def _pick(self, menu, text, path):
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        if path is not None:
            self._answer_soon(path)
        action = next(action for action in menu.actions() if action.text() == text)
        place = menu.actionGeometry(action).center()
        QTest.mouseClick(menu, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)

    def _answer_soon(self, path, tries=50):
        from qtpy.QtCore import QTimer

        QTimer.singleShot(200, lambda: self._answer(path, tries))

    def _answer(self, path, tries):
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QApplication, QLineEdit, QMessageBox

        dialog = QApplication.activeModalWidget()
        if dialog is None:
            if tries:
                self._answer_soon(path, tries - 1)
            return
        self.titles.append(dialog.windowTitle())
        if isinstance(dialog, QMessageBox):
            button = dialog.button(getattr(QMessageBox.StandardButton, path))
            QTest.mouseClick(button, Qt.MouseButton.LeftButton)
            return
        line = dialog.findChild(QLineEdit)
        line.selectAll()
        QTest.keyClicks(line, str(path))
        QTest.keyClick(line, Qt.Key.Key_Return)
        for _ in range(100):  # a busy machine takes its time to look for files
            if not dialog.isVisible():
                return
            QTest.qWait(100)
        # Whatever went wrong, an open dialog would hold up the test for ever.
        self.titles.append("had to be closed")
        dialog.reject()


@pytest.fixture
def annotating(qapp, mosaic):
    """A viewer with a project of the mosaic, one stroke in each of its three classes."""
    import napari

    from napari_cas.ui.widget import AnnotationWidget

    with LocalExecutor(nice=0) as executor:
        viewer = napari.Viewer(show=True)
        viewer.window.resize(1280, 800)
        widget = AnnotationWidget(viewer, executor=executor)
        viewer.window.add_dock_widget(widget, area="right", name="napari-cas")
        driver = Driver(viewer)
        viewer.add_image(mosaic[0], name="mosaic", rgb=True)
        driver.process(0.2)
        driver.click(widget.panel.start.start)
        driver.wait(lambda: widget.session.worker is not None, WAIT)
        for number, (y, x) in enumerate(((60, 40), (60, 190), (210, 100))):
            if number:
                driver.key("N")
            driver.line((y, x), (y, x + 40), steps=6)
        yield widget, driver
        viewer.close()
        driver.wait(lambda: widget._closed, 20)
        driver.process(0.1)
    gc.collect()
    qapp.sendPostedEvents(None, 52)  # QEvent.DeferredDelete


def test_the_projects_menu_from_model_to_reading_only(annotating, tmp_path):
    """Train → save → forget → load → export → close → open; then while another has it open."""
    import zarr

    from napari_cas.store import Project

    widget, driver = annotating
    session, panel = widget.session, widget.panel
    dialogs = Dialogs(widget, driver)
    driver.click(panel.train.run)
    driver.wait(lambda: bool(session.reports) and session.idle, WAIT)
    labels = np.asarray(session.image.prediction_view).copy()

    dialogs.choose("Save model…", tmp_path / "saved")
    assert (tmp_path / "saved" / "weights.safetensors").is_file()
    dialogs.choose("Forget what was learnt…", "Cancel")
    assert session.checkpoint is not None
    dialogs.choose("Forget what was learnt…", "Yes")
    assert session.checkpoint is None
    assert "forgotten" in panel.train.status.text()
    assert set(session.image.regions.ids(())) == {1, 2, 3}
    dialogs.choose("Load model…", tmp_path / "saved")
    assert session.checkpoint is not None
    driver.wait(lambda: session.idle, WAIT)
    assert np.mean(np.asarray(session.image.prediction_view) == labels) > 0.99

    dialogs.choose("Export…", tmp_path / "out.ome.zarr")
    driver.wait(lambda: "Exported" in panel.train.status.text(), WAIT)
    exported = zarr.open_group(str(tmp_path / "out.ome.zarr"), mode="r")
    assert set(np.unique(exported["labels/regions/0"][...])) == {0, 1, 2, 3}

    path = session.project.path
    dialogs.choose("Close project")
    assert session.project is None
    assert panel.start.isVisible()
    heard = []
    session.messaged.connect(heard.append)
    with Project.open(path):
        dialogs.press(panel.start.open, path)
        assert session.project is not None
        assert not session.writable
        (told,) = [message for message in heard if message.level == "warning"]
        assert "read-only" in str(told)
        assert "close it there" in str(told)
        assert "read only" in panel.project.name.text()
        assert not widget.layers.regions.editable
        for control in (panel.train.run, panel.train.new_region, panel.train.live):
            assert not control.isEnabled()
        assert not panel.images.add.isEnabled()
        dialogs.choose("Close project")
    dialogs.press(panel.start.open, path)
    assert session.writable
    assert panel.train.live.isEnabled()
    assert panel.images.add.isEnabled()
    forget = ["Forget what was learnt"] * 2
    expected = ["Save model in a new folder", *forget, "Load model: choose its folder", "Export"]
    assert dialogs.titles == [*expected, "Open project", "Open project"]


def test_the_dock_cannot_clip_the_panel(annotating):
    """The edge of the dock, dragged as far as it goes, leaves room for every control."""
    widget, driver = annotating
    from qtpy.QtCore import Qt

    dock = next(
        dock
        for dock in widget.viewer.window._qt_window.findChildren(type(widget.parent()))
        if dock.widget() is widget or dock.isAncestorOf(widget)
    )
    widget.viewer.window._qt_window.resizeDocks([dock], [60], Qt.Orientation.Horizontal)
    driver.process(0.2)
    scroll = widget.panel.scroll
    assert scroll.viewport().width() >= scroll.widget().minimumSizeHint().width()
