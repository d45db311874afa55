"""Keys and the wheel after the panel was used with the mouse, through Qt's own events."""

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMainWindow

from napari_cas.config import Config
from napari_cas.ui.panel import Panel


class Window(QMainWindow):
    """Notes the keys that nobody in it wanted, as napari's window does."""

    def __init__(self, panel):
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCentralWidget(panel)
        self.keys = []

    def keyPressEvent(self, event):  # noqa: N802 - Qt's name
        self.keys.append(event.key())

    def press(self, key):
        QTest.keyClick(self.focusWidget() or self, key)


@pytest.fixture
def window(qtbot):
    made = Window(Panel(Config()))
    qtbot.addWidget(made)
    panel = made.centralWidget()
    panel.show_project(True)
    panel.train.show_busy(False)
    panel.images.show_images(["apple", "nuclei", "other"], "apple")
    made.resize(340, 500)
    made.show()
    made.activateWindow()
    qtbot.waitUntil(made.isActiveWindow)
    made.setFocus()
    return made


KEYS = [Qt.Key.Key_PageDown, Qt.Key.Key_N, Qt.Key.Key_Left]


@pytest.mark.parametrize(
    "part", ["train.run", "train.new_region", "train.live", "images.names", "train.device"]
)
def test_keys_reach_napari_after_a_click_in_the_panel(window, part):
    view, name = part.split(".")
    chosen = []
    window.centralWidget().images.selected.connect(chosen.append)
    QTest.mouseClick(
        getattr(getattr(window.centralWidget(), view), name), Qt.MouseButton.LeftButton
    )
    if popup := QApplication.activePopupWidget():
        QTest.keyClick(popup, Qt.Key.Key_Escape)
    for key in KEYS:
        window.press(key)
    assert window.keys == KEYS
    assert not chosen


def test_page_down_is_the_next_image_for_those_who_use_tab_too(window):
    window.centralWidget().train.run.setFocus(Qt.FocusReason.TabFocusReason)
    assert window.focusWidget() is window.centralWidget().train.run
    window.press(Qt.Key.Key_PageDown)
    assert window.keys == [Qt.Key.Key_PageDown]


def turn_wheel(widget):
    place = QPointF(widget.rect().center())
    event = QWheelEvent(
        place,
        widget.mapToGlobal(place),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)
    return event.isAccepted()


def test_a_button_takes_what_is_being_typed(window):
    panel, heard = window.centralWidget(), []
    panel.settings.expand(animate=False)
    panel.form.changed.connect(lambda config: heard.append(config.fit.max_rounds))
    panel.train.run_requested.connect(lambda: heard.append("run"))
    number = panel.form.widgets["fit", "max_rounds"].native
    number.setFocus(Qt.FocusReason.MouseFocusReason)
    number.selectAll()
    QTest.keyClicks(number, "3")
    QTest.mouseClick(panel.train.run, Qt.MouseButton.LeftButton)
    assert heard == [3, "run"]
    window.press(Qt.Key.Key_N)
    assert window.keys == [Qt.Key.Key_N]


def test_scrolling_past_a_setting_or_the_images_changes_nothing(window):
    panel = window.centralWidget()
    panel.settings.expand(animate=False)
    QApplication.processEvents()
    changed, chosen = [], []
    panel.form.changed.connect(changed.append)
    panel.images.selected.connect(chosen.append)
    number = panel.form.widgets["model", "channels"].native
    for widget in (panel.images.names, panel.form.widgets["model", "name"].native, number):
        assert not turn_wheel(widget)  # left to the panel, which scrolls
    assert not changed
    assert not chosen
    number.setFocus(Qt.FocusReason.MouseFocusReason)
    assert turn_wheel(number)  # what was clicked is meant
    assert changed[-1].model.channels == Config().model.channels - 1
