"""Fixtures of the user interface's tests: Qt, a viewer, and nothing left over."""

from __future__ import annotations

import gc
import os
import sys

import numpy as np
import pytest

HAS_DISPLAY = sys.platform != "linux" or bool(
    os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
)
if not HAS_DISPLAY:
    # Views and adapters need no screen; what needs one is marked `viewer` and skipped below.
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def pytest_collection_modifyitems(items):
    if HAS_DISPLAY:
        return
    skip = pytest.mark.skip(reason="the real viewer needs a display; run under xvfb-run")
    for item in items:
        if "viewer" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Keep projects and napari's settings away from the user's own."""
    monkeypatch.setenv("NAPARI_CAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True, scope="session")
def napari_settings(tmp_path_factory):
    from napari.settings import get_settings

    settings = get_settings(tmp_path_factory.mktemp("napari") / "settings.yaml")
    settings.application.confirm_close_window = False
    settings.application.save_window_geometry = False
    return settings


@pytest.fixture(autouse=True)
def no_leaked_widgets(qapp):
    """Fail a test that leaves a window of its own behind."""
    before = set(map(id, qapp.allWidgets()))
    yield
    # Collecting takes a good part of a second with napari in memory, and most tests make nothing.
    for _ in range(3):
        qapp.processEvents()
        qapp.sendPostedEvents(None, 52)  # QEvent.DeferredDelete
        if before.issuperset(map(id, qapp.allWidgets())):
            break
        gc.collect()
    left = [
        widget
        for widget in qapp.topLevelWidgets()
        if id(widget) not in before and widget.parent() is None and _ours(widget)
    ]
    assert not left, f"widgets left behind: {left}"


def _ours(widget) -> bool:
    return type(widget).__module__.startswith("napari_cas")


@pytest.fixture
def model_viewer():
    """Return a viewer without a window."""
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def adapter(model_viewer):
    """Return what stands between the session and the layers of a viewer without a window."""
    from napari_cas.ui.layers import LayerAdapter

    made = LayerAdapter(model_viewer)
    yield made
    made.close()


@pytest.fixture
def mosaic():
    """Return an RGB image of three flat but noisy areas, and their labels 1–3."""
    truth = np.ones((256, 256), np.uint8)
    truth[:, 128:] = 2
    truth[170:, 60:200] = 3
    colours = np.array([[0, 0, 0], [200, 60, 60], [60, 180, 70], [70, 80, 210]])
    noise = np.random.default_rng(0).normal(0, 18, (256, 256, 3))
    return np.clip(colours[truth] + noise, 0, 255).astype(np.uint8), truth


@pytest.fixture
def project(tmp_path):
    """Return an empty project, closed afterwards."""
    from napari_cas.store import Project

    made = Project.create(tmp_path / "project.zarr")
    yield made
    made.close()


@pytest.fixture
def ramp():
    """Return a maker of pixels that are not all the same."""

    def make(*shape):
        return (np.arange(np.prod(shape)) % 251).astype(np.uint8).reshape(shape)

    return make


@pytest.fixture
def widget(qtbot, model_viewer, monkeypatch):
    """Return the composed panel of a viewer without a window; nothing is learnt in it."""
    from napari_cas.ui.widget import AnnotationWidget

    made = AnnotationWidget(model_viewer)
    monkeypatch.setattr(made.session, "warm_up", lambda: None)
    qtbot.addWidget(made, before_close_func=lambda w: w.shut_down())
    return made


@pytest.fixture
def begin(widget, model_viewer, qtbot, ramp):
    """Open images under these names and start annotating some of them."""

    from qtpy.QtCore import Qt

    def start(*names, chosen=None):
        for name in names:
            model_viewer.add_image(ramp(40, 50), name=name)
        model_viewer.layers.selection = [model_viewer.layers[n] for n in chosen or names]
        qtbot.mouseClick(widget.panel.start.start, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: widget.session.image is not None, timeout=20_000)

    return start
