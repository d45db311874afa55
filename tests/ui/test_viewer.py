"""The real program: the real viewer, real mouse and key events, the real worker, a real disk."""

from __future__ import annotations

import gc
import os
import signal
import time

import numpy as np
import psutil
import pytest

from napari_cas.config import Config, FitConfig
from napari_cas.jobs import LocalExecutor
from napari_cas.session import Session
from training.driving import Driver

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(600)]

WAIT = 240
"""Seconds that the worker may take on a machine that does other things, too."""
LEAST_ARI = 0.6
"""From three strokes. The mosaic, headless and with seeds 0 to 2, gave 0.74, 0.87 and 0.80."""


@pytest.fixture(scope="module")
def executor():
    """Return one warm worker for all tests that do not kill theirs; not niced, to be quick."""
    with LocalExecutor(nice=0) as shared:
        yield shared


@pytest.fixture
def open_panel(qapp):
    """Open viewers with the panel docked, and close them afterwards."""
    import napari

    from napari_cas.ui.widget import AnnotationWidget

    opened = []

    def make(executor=None):
        viewer = napari.Viewer(show=True)
        viewer.window.resize(1280, 800)
        widget = AnnotationWidget(viewer, executor=executor)
        viewer.window.add_dock_widget(widget, area="right", name="napari-cas")
        opened.append((viewer, widget))
        return viewer, widget, Driver(viewer)

    yield make
    for viewer, widget in opened:
        driver = Driver(viewer)
        if not widget._closed:
            viewer.close()
            driver.wait(lambda widget=widget: widget._closed, 20)
        driver.process(0.1)
    # Two viewers whose OpenGL contexts live at once are more than vispy keeps apart.
    opened.clear()
    gc.collect()
    qapp.sendPostedEvents(None, 52)  # QEvent.DeferredDelete
    qapp.processEvents()


def start(widget, driver):
    driver.click(widget.panel.start.start)
    driver.wait(lambda: widget.session.image is not None, 60)
    driver.process(0.3)


def paint_truth(driver, widget, truth, regions=(1, 2, 3)):
    """Paint one short stroke inside each class, a new region each."""
    from scipy import ndimage

    for number, region in enumerate(regions):
        if number:
            driver.key("N")
        depth = ndimage.distance_transform_edt(truth == region)
        y, x = np.unravel_index(np.argmax(depth), depth.shape)
        reach = max(float(depth.max()) * 0.6, 2)
        driver.line((y, x - reach), (y, x + reach), steps=6)


def predicted(widget):
    return np.asarray(widget.session.image.prediction_view)


def score(labels, truth):
    from sklearn.metrics import adjusted_rand_score

    known = truth > 0
    return adjusted_rand_score(truth[known], labels[known])


def train(driver, widget):
    reports = len(widget.session.reports)
    driver.click(widget.panel.train.run)
    driver.wait(lambda: len(widget.session.reports) > reports, WAIT)
    driver.wait(lambda: widget.session.idle, WAIT)


def test_from_sample_to_export(open_panel, executor, tmp_path):
    """Open sample → paint → click → prediction → correct → retrain → export → read back."""
    import zarr

    from napari_cas.samples import load_sample

    viewer, widget, driver = open_panel(executor)
    session, panel = widget.session, widget.panel
    assert "sample" in panel.guide.label.text()
    viewer.open_sample("napari-cas", "textures")
    driver.process(0.2)
    assert panel.guide.label.text() == "Press Start annotating."
    start(widget, driver)
    assert viewer.layers.selection.active.name == "regions"

    truth = load_sample("textures").truth
    classes = [int(c) for c in np.unique(truth) if c]
    paint_truth(driver, widget, truth, classes[:1])
    assert panel.guide.label.text() == "Press N and paint something that looks different."
    driver.key("N")
    assert widget.layers.regions.selected_label == 2
    paint_truth(driver, widget, truth, classes[1:])
    assert set(session.image.regions.ids(())) == set(range(1, len(classes) + 1))
    assert not session.image.regions.dirty
    assert panel.train.run.isDefault()

    train(driver, widget)
    layer = viewer.layers["prediction"]
    assert viewer.layers.selection.active.name == "regions"
    assert (predicted(widget) > 0).all()
    assert score(predicted(widget), truth) > LEAST_ARI
    assert np.array_equal(np.asarray(layer.data), predicted(widget))
    assert panel.plot.isVisible()
    assert panel.plot.curve("total")[0]
    assert "steps" in panel.train.status.text()

    # A correction, painted in the prediction layer, teaches.
    viewer.layers.selection.active = layer
    layer.mode = "paint"
    layer.selected_label = 9
    strokes = dict(session.image.regions.ids(()))
    driver.line((20, 20), (20, 60), steps=8)
    assert session.image.corrections.ids(()) == {10: session.image.corrections.ids(())[10]}
    assert session.image.regions.ids(()) != strokes
    viewer.layers.selection.active = widget.layers.regions
    before = layer
    train(driver, widget)
    assert viewer.layers["prediction"] is before

    target = tmp_path / "out.zarr"
    panel.project.export_requested.emit(str(target))
    driver.wait(lambda: "Exported" in panel.train.status.text(), 60)
    exported = zarr.open_group(str(target), mode="r")
    assert np.array_equal(exported["labels/prediction/0"][...], predicted(widget))
    assert np.array_equal(exported["labels/regions/0"][...], np.asarray(session.image.regions))


@pytest.mark.slow
def test_everything_comes_back(open_panel, executor, mosaic, own_home):
    image, truth = mosaic
    viewer, widget, driver = open_panel(executor)
    viewer.add_image(image, name="mosaic", rgb=True)
    start(widget, driver)
    paint_truth(driver, widget, truth)
    train(driver, widget)
    labels, strokes = predicted(widget), np.asarray(widget.session.image.regions)
    viewer.close()
    driver.wait(lambda: widget._closed, 20)

    viewer, widget, driver = open_panel(executor)
    widget.intents.open_project(own_home / "mosaic.zarr")
    driver.process(0.3)
    assert [layer.name for layer in viewer.layers] == ["mosaic", "prediction", "regions"]
    assert viewer.layers["mosaic"].rgb
    assert np.array_equal(np.asarray(viewer.layers["prediction"].data), labels)
    assert np.array_equal(np.asarray(viewer.layers["regions"].data), strokes)
    assert widget.session.checkpoint is not None


@pytest.mark.slow
def test_accept_split_and_undo_by_hand(open_panel, executor, mosaic):
    image, truth = mosaic
    viewer, widget, driver = open_panel(executor)
    viewer.add_image(image, name="mosaic", rgb=True)
    start(widget, driver)
    paint_truth(driver, widget, truth)
    strokes = dict(widget.session.image.regions.ids(()))
    driver.key("Z", "Control")
    assert set(widget.session.image.regions.ids(())) == {1, 2}
    driver.key("Z", "Control", "Shift")
    assert widget.session.image.regions.ids(()) == strokes
    train(driver, widget)
    driver.hover(60, 40)
    driver.key("A")
    accepted = widget.session.image.regions.ids(())
    assert accepted[1] > 10 * strokes[1]
    driver.click(widget.panel.results.split)
    driver.wait(lambda: "mosaic objects" in viewer.layers, 30)
    assert np.asarray(viewer.layers["mosaic objects"].data).max() >= 2
    names = [layer.name for layer in viewer.layers]
    assert names.index("mosaic objects") < names.index("regions")  # strokes stay in sight
    assert viewer.layers.selection.active is widget.layers.regions
    driver.click(widget.panel.results.uncertainty)
    driver.wait(lambda: "uncertainty" in viewer.layers, WAIT)
    driver.wait(lambda: widget.session.idle, WAIT)
    viewer.layers.remove("uncertainty")
    assert not widget.panel.results.uncertainty.isChecked()


@pytest.mark.slow
def test_a_mistake_is_painted_over_with_the_kind_under_the_cursor(open_panel, executor, mosaic):
    image, truth = mosaic
    viewer, widget, driver = open_panel(executor)
    layers = [viewer.add_image(i, name=n, rgb=True) for n, i in (("a", image), ("b", image[::-1]))]
    viewer.layers.selection = set(layers)
    start(widget, driver)
    paint_truth(driver, widget, truth)
    train(driver, widget)
    driver.key("PageDown")
    driver.process(0.3)
    driver.wait(lambda: predicted(widget)[widget.session.view.box.slices].all(), WAIT)
    driver.wait(lambda: widget.session.idle, WAIT)
    assert "press K" in widget.panel.guide.label.text()
    y, x = 60, 40
    label = int(predicted(widget)[y, x])
    wrong = np.argwhere(predicted(widget)[20:-20, 20:-20] != label)
    row, column = (wrong[len(wrong) // 2] + 20).tolist()
    driver.hover(y, x)
    driver.key("K")
    assert viewer.layers.selection.active is widget.layers.prediction
    driver.line((row, column - 8), (row, column + 8), steps=6)
    driver.process(0.2)
    assert predicted(widget)[row, column] == label
    assert set(widget.session.image.regions.ids(())) == {1}
    train(driver, widget)
    assert predicted(widget)[row, column] == label
    record = widget.session.project.load_model(widget.session.checkpoint)[1]
    assert record["training"]["planes"][1]["channel"] == {"1": label - 1}
    driver.key("N")
    assert viewer.layers.selection.active is widget.layers.regions
    assert widget.layers.regions.selected_label == 2


@pytest.mark.slow
def test_several_images_share_what_was_learnt(open_panel, executor, mosaic):
    image, truth = mosaic
    viewer, widget, driver = open_panel(executor)
    first = viewer.add_image(image, name="first", rgb=True)
    second = viewer.add_image(image[::-1].copy(), name="second", rgb=True)
    viewer.layers.selection = {first, second}
    start(widget, driver)
    assert widget.session.images == ("first", "second")
    assert (first.visible, second.visible) == (True, False)
    paint_truth(driver, widget, truth)
    train(driver, widget)
    driver.key("PageDown")
    assert widget.session.image.name == "second"
    assert (first.visible, second.visible) == (False, True)
    driver.process(0.3)
    seen = widget.session.view.box.slices
    driver.wait(lambda: predicted(widget)[seen].all(), WAIT)
    assert score(predicted(widget)[seen], truth[::-1][seen]) > LEAST_ARI
    driver.key("PageUp")
    assert widget.session.image.name == "first"
    for _ in range(2):  # the second time there is nothing left to do
        widget.answers.show_news("")
        driver.click(widget.panel.results.predict_all)
        driver.wait(lambda: "are predicted" in widget.panel.train.status.text(), WAIT)
        driver.process(0.3)
        assert "are predicted" in widget.panel.train.status.text()
    driver.wait(lambda: widget.session.idle, WAIT)


def test_cancel_and_layers_deleted_while_training(open_panel, executor, mosaic):
    image, truth = mosaic
    viewer, widget, driver = open_panel(executor)
    viewer.add_image(image, name="mosaic", rgb=True)
    start(widget, driver)
    paint_truth(driver, widget, truth)
    driver.key("Return", "Control")
    assert widget.session.state.busy
    driver.process(0.3)
    # The image stays. Clearing all layers here crashed in Mesa's glDrawArrays, twice of two. napari
    # 0.9.2 without the panel crashes there too when two Labels layers and then the image are
    # removed one by one, but survived clearing: whether it is the same fault is not known.
    for name in ("regions", "prediction"):
        viewer.layers.remove(name)
    driver.process(0.3)
    driver.click(widget.panel.train.cancel)
    driver.wait(lambda: widget.session.idle, WAIT)
    assert not widget.panel.train.cancel.isEnabled()
    assert "was removed" in widget.panel.guide.label.text()
    driver.key("N")
    assert "regions" in viewer.layers
    assert set(widget.session.image.regions.ids(())) == {1, 2, 3}


@pytest.mark.slow
def test_live_mode_trains_after_a_stroke(open_panel, executor, mosaic):
    image, truth = mosaic
    viewer, widget, driver = open_panel(executor)
    viewer.add_image(image, name="mosaic", rgb=True)
    start(widget, driver)
    driver.key("L", "Shift")
    assert widget.panel.train.live.isChecked()
    paint_truth(driver, widget, truth, (1, 2))
    driver.wait(lambda: bool(widget.session.reports), WAIT)
    driver.key("L", "Shift")
    driver.wait(lambda: widget.session.idle, WAIT)


def test_a_killed_worker_costs_nothing_but_a_message(open_panel, mosaic):
    image, truth = mosaic
    with LocalExecutor(nice=0) as own:
        viewer, widget, driver = open_panel(own)
        viewer.add_image(image, name="mosaic", rgb=True)
        start(widget, driver)
        driver.wait(lambda: widget.session.worker is not None, WAIT)
        paint_truth(driver, widget, truth)
        driver.click(widget.panel.train.run)
        heard = []
        widget.session.messaged.connect(heard.append)
        os.kill(widget.session.worker.pid, signal.SIGKILL)
        driver.wait(lambda: any(message.level != "info" for message in heard), WAIT)
        driver.wait(lambda: bool(widget.session.reports) and widget.session.idle, WAIT)
        assert set(widget.session.image.regions.ids(())) == {1, 2, 3}
        assert score(predicted(widget), truth) > LEAST_ARI


@pytest.mark.parametrize("how", ["window", pytest.param("dock", marks=pytest.mark.slow)])
def test_closing_while_training_leaves_no_process(open_panel, mosaic, how):
    image, truth = mosaic
    viewer, widget, driver = open_panel()
    viewer.add_image(image, name="mosaic", rgb=True)
    start(widget, driver)
    driver.wait(lambda: widget.session.worker is not None, WAIT)
    paint_truth(driver, widget, truth)
    driver.click(widget.panel.train.run)
    worker = psutil.Process(widget.session.worker.pid)
    place = widget.session.project.path
    if how == "window":
        viewer.close()
    else:
        viewer.window.remove_dock_widget(widget)
    driver.wait(lambda: widget._closed, 20)
    end = time.monotonic() + 20
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the worker is still there"
        time.sleep(0.1)
    if how == "dock":
        assert [layer.name for layer in viewer.layers] == ["mosaic"]
        widget.deleteLater()
        driver.line((20, 20), (20, 60))  # not painted, and no traceback either
        viewer.close()
    assert_resumable(place, {1, 2, 3})


def assert_resumable(place, ids):
    """Open a project as another session would, and train a round from where it was left."""
    session = Session(config=Config(fit=FitConfig(round_seconds=0.2, max_rounds=1)))
    session.open_project(place)
    try:
        assert session.writable
        assert set(session.image.regions.ids(())) == ids
        before = session.checkpoint
        session.config = session.config.model_copy(update={"fit": FitConfig(max_rounds=1)})
        session.fine_tune()
        assert session.run_until_idle(WAIT)
        assert session.checkpoint not in (None, before)
        assert np.asarray(session.image.prediction_view[...]).all()
    finally:
        session.close()


def test_menus_commands_and_sample_menu(open_panel, executor):
    from napari._app_model import get_app_model

    viewer, widget, driver = open_panel(executor)
    app = get_app_model()
    for menu, command in (
        ("napari/layers/annotate", "napari-cas.annotate"),
        ("napari/layers/annotate", "napari-cas.start"),
        ("napari-cas/segment", "napari-cas.fine_tune"),
        ("napari/file/io_utilities", "napari-cas.export"),
    ):
        items = [
            getattr(item.command, "id", None)
            for item in app.menus.get_menu(menu)
            if hasattr(item, "command")
        ]
        assert command in items, menu
    viewer.open_sample("napari-cas", "coffee")
    app.commands.execute_command("napari-cas.start").result()
    driver.wait(lambda: widget.session.image is not None, 60)
    app.commands.execute_command("napari-cas.new_region").result()
    assert widget.layers.regions.selected_label == 1


def test_a_bad_place_is_told_and_not_raised(open_panel, executor, mosaic, tmp_path):
    viewer, widget, driver = open_panel(executor)
    viewer.add_image(mosaic[0], name="mosaic", rgb=True)
    taken = tmp_path / "taken.zarr"
    taken.mkdir()
    (taken / "something").write_text("mine")
    widget.panel.start.path.setText(str(taken))
    driver.click(widget.panel.start.start)
    driver.wait(lambda: str(taken) in widget.panel.guide.label.text(), 20)
    assert widget.session.project is None
    assert widget.panel.start.start.isEnabled()
    assert (taken / "something").read_text() == "mine"


def test_stacks_and_multi_channel_images(open_panel, executor):
    rng = np.random.default_rng(0)
    viewer, widget, driver = open_panel(executor)
    viewer.add_image(
        rng.integers(0, 4000, (2, 6, 80, 90)).astype(np.uint16), channel_axis=0, name=["a", "b"]
    )
    viewer.layers.selection = set(viewer.layers)
    driver.process(0.1)
    assert widget.panel.start.as_channels
    viewer.window._qt_viewer.layers.setFocus()
    start(widget, driver)
    # Keys go where the brush is: the layer list would keep Page Down to itself.
    assert viewer.window._qt_window.focusWidget() is viewer.window._qt_window
    entry = widget.session.image
    assert (entry.axes, entry.n_channels, entry.planes_shape) == ("czyx", 2, (6,))
    viewer.dims.set_current_step(0, 4)
    driver.line((40, 20), (40, 60), steps=6)
    assert set(entry.regions.ids((4,))) == {1}
    assert entry.regions.ids((0,)) == {}
    driver.process(0.3)
    assert widget.session.view.plane == (4,)
