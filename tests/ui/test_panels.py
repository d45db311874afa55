"""Each view shows what it is told and emits what is intended, without knowing anybody."""

from __future__ import annotations

import itertools

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit

from napari_cas.config import ClusterSettings, Config, ModelSpec
from napari_cas.protocol import LossPoint, RoundReport
from napari_cas.store.progress import Stage
from napari_cas.ui.panel import Panel
from napari_cas.ui.panels.alike import AlikeView
from napari_cas.ui.panels.images import ImagesView
from napari_cas.ui.panels.machine import MachineView
from napari_cas.ui.panels.project import ProjectView
from napari_cas.ui.panels.results import ResultsView
from napari_cas.ui.panels.settings import ConfigForm
from napari_cas.ui.panels.start import StartView
from napari_cas.ui.panels.train import TrainView
from napari_cas.ui.plot import LossPlot


@pytest.fixture
def add(qtbot):
    """Show a view and have it deleted at the end."""

    def show(view):
        qtbot.addWidget(view)
        view.show()
        return view

    return show


def test_start_emits_path_reading_and_choice(add, qtbot):
    view = add(StartView())
    view.show_layers(["a", "b"], may_be_channels=True, are_channels=True)
    view.show_axes(("zyx", "tyx"))
    view.suggest_path("/tmp/a.zarr")
    view.axes.setCurrentIndex(1)
    with qtbot.waitSignal(view.start_requested) as caught:
        qtbot.mouseClick(view.start, Qt.MouseButton.LeftButton)
    assert caught.args == ["/tmp/a.zarr", True, "tyx"]


def test_a_long_name_makes_the_panel_no_wider(add, qtbot):
    panel = add(Panel(Config()))
    start = panel.start

    def choose(*names):
        start.show_layers(names, may_be_channels=False, are_channels=False)
        qtbot.wait(10)
        return panel.minimumSizeHint().width()

    before = choose("a.jpg")
    long = f"{'slide_' * 20}end.jpg"
    assert choose(long) == before
    panel.resize(before, 400)
    qtbot.wait(10)
    text = start.summary.text()
    assert "…" in text
    assert text.endswith("d.jpg")
    assert start.summary.fontMetrics().horizontalAdvance(text) <= start.summary.width()
    assert start.summary.toolTip() == long
    assert choose("b.jpg") == before
    assert start.summary.text() == "b.jpg"


def test_another_machine_is_what_its_lines_say(add, qtbot):
    view = add(MachineView())
    wanted = ClusterSettings(scheduler="tls://gpu:8786", resources="GPU=1", tls_key="key.pem")
    view.show_cluster(wanted)
    view.lines["scheduler"].value = " tls://gpu:8786 "
    with qtbot.waitSignal(view.chosen) as caught:
        qtbot.mouseClick(view.use, Qt.MouseButton.LeftButton)
    assert caught.args == [wanted]
    view.show_state("Looking …", busy=True)
    assert not view.use.isEnabled()


def test_start_offers_choices_only_where_there_are_any(add):
    view = add(StartView())
    view.show_layers(["a"], may_be_channels=False, are_channels=False)
    view.show_axes(("yx",))
    assert not view.choice.isVisible()
    assert not view.axes.isVisible()
    assert view.start.isEnabled()
    view.show_layers([], may_be_channels=False, are_channels=False)
    assert not view.start.isEnabled()


def test_start_keeps_a_path_that_was_typed(add):
    view = add(StartView())
    view.suggest_path("/one.zarr")
    view.suggest_path("/two.zarr")
    assert view.path.text() == "/two.zarr"
    view.path.setText("/mine.zarr")
    view.suggest_path("/three.zarr")
    assert view.path.text() == "/mine.zarr"


def test_samples_are_in_the_menu(add, qtbot):
    view = add(StartView())
    view.show_samples([("cells", "Cells"), ("cat", "A cat")])
    assert [action.text() for action in view.sample.menu().actions()] == ["Cells", "A cat"]
    with qtbot.waitSignal(view.sample_requested) as caught:
        view.sample.menu().actions()[1].trigger()
    assert caught.args == ["cat"]


def test_images_step_and_know_their_ends(add, qtbot):
    view = add(ImagesView())
    view.show_images(("a", "b", "c"), "a")
    assert not view.previous.isEnabled()
    assert view.next.isEnabled()
    with qtbot.waitSignal(view.stepped) as caught:
        qtbot.mouseClick(view.next, Qt.MouseButton.LeftButton)
    assert caught.args == [1]
    with qtbot.assertNotEmitted(view.selected):
        view.show_images(("a", "b", "c"), "c")
    assert not view.next.isEnabled()


@pytest.mark.parametrize(
    "names",
    [
        [f"2024-03-11_plate3_treated_well_A0{well}" for well in (1, 2, 3)],
        ["control 2024-03-11 field of view", "treated 2024-03-11 field of view"],
        [f"cell line A {line} (day 2, passage 7)" for line in (1, 2, 3)],
        [f"A very long begin {'x' * 60} {n} {'y' * 60} and an end" for n in (1, 2, 3)],
    ],
)
def test_long_names_are_told_apart_wherever_they_differ(add, qtbot, names):
    view = add(ImagesView())
    view.resize(300, 30)
    texts, pictures = set(), []
    for name in names:
        view.show_images(names, name)
        texts.add(view.names.shortened(100))
        pictures.append(view.names.grab().toImage())
        assert view.names.toolTip().startswith(f"{name}\n")
    assert len(texts) == len(names)
    assert all("…" in text for text in texts)
    assert pictures[0] != pictures[1]
    view.names.showPopup()
    qtbot.waitUntil(view.names.view().isVisible)
    assert view.names.view().width() >= view.names.fontMetrics().horizontalAdvance(names[0])
    view.names.hidePopup()


def test_the_open_list_marks_images_that_are_painted_and_predicted(add, qtbot):
    view = add(ImagesView())
    view.show_images(("a", "b", "c", "d"), "a")
    stages = {"a": (0, 0), "b": (1, 0), "c": (0, 1), "d": (1, 1)}
    view.names.stage = lambda name: Stage(*map(bool, stages[name]))
    closed = view.names.grab().toImage()
    view.names.showPopup()
    qtbot.waitUntil(view.names.view().isVisible)
    words = [view.names.itemData(i, Qt.ItemDataRole.ToolTipRole) for i in range(4)]
    assert words[1:3] == ["painted, not predicted", "not painted, predicted"]
    marks = [view.names.itemIcon(i).pixmap(24, 12).toImage() for i in range(4)]
    assert not any(marks[i] == marks[j] for i in range(4) for j in range(i))
    view.names.hidePopup()
    assert view.names.grab().toImage() == closed


def test_train_buttons_follow_the_state(add, qtbot):
    view = add(TrainView())
    view.show_busy(busy=True)
    assert view.cancel.isEnabled()
    assert not view.run.isEnabled()
    view.show_busy(busy=False, can_run=True)
    with qtbot.waitSignal(view.run_requested):
        qtbot.mouseClick(view.run, Qt.MouseButton.LeftButton)
    view.show_busy(busy=False, can_run=False)
    assert not view.run.isEnabled()
    assert not view.live.isEnabled()


def test_showing_live_and_device_emits_nothing(add, qtbot):
    view = add(TrainView())
    with qtbot.assertNotEmitted(view.live_toggled), qtbot.assertNotEmitted(view.device_chosen):
        view.show_live(True)
        view.show_devices(("auto", "cpu", "cuda"), "auto", "cuda:0")
    assert view.device.currentText() == "auto (cuda:0)"
    with qtbot.waitSignal(view.live_toggled) as caught:
        view.live.click()
    assert caught.args == [False]


def test_progress_grows_and_ends_and_never_moves_by_itself(add):
    view = add(TrainView())
    view.show_progress(0, 10)
    first = view.progress.value()
    view.show_progress(3, 10)
    assert 0 < first < view.progress.value() < view.progress.maximum()
    view.show_progress(10, 10)
    assert view.progress.value() == 0
    assert view.progress.maximum() > view.progress.minimum()


def test_results_need_a_model(add, qtbot):
    view = add(ResultsView())
    view.show_available(trained=False, busy=False)
    assert not any(w.isEnabled() for w in (view.accept, view.split, view.predict_all))
    view.show_available(trained=True, busy=True)
    assert view.accept.isEnabled()
    assert not view.predict_all.isEnabled()
    view.show_available(trained=True, busy=False, writable=False)
    assert view.split.isEnabled()
    assert not any(w.isEnabled() for w in (view.accept, view.predict_all))
    with qtbot.assertNotEmitted(view.probabilities_toggled):
        view.show_layer("probabilities", on=True)
    assert view.probabilities.isChecked()


def test_project_shows_its_name_and_whether_it_is_writable(add):
    view = add(ProjectView())
    view.show_project("/data/cells.zarr", writable=False)
    assert view.name.text() == "cells.zarr (read only)"
    assert view.name.toolTip() == "/data/cells.zarr"


# -- the form -------------------------------------------------------------------------------------


def fields(model, path=()):
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if hasattr(type(value), "model_fields"):
            yield from fields(value, (*path, name))
        else:
            yield (*path, name), field


def test_every_setting_has_a_widget_with_its_tooltip(add):
    form = add(ConfigForm(Config()))
    for path, field in fields(Config()):
        if path == ("device",):
            continue
        assert form.widgets[path].tooltip == field.description
    assert form.widgets["predict", "follow_edges"].native.text() == ""  # the row is labelled


def test_editing_a_field_gives_a_new_valid_config(add, qtbot):
    form = add(ConfigForm(Config()))
    with qtbot.waitSignal(form.changed) as caught:
        form.widgets["model", "channels"].value = 12
    assert caught.args[0] == Config(model=ModelSpec(channels=12))
    with qtbot.waitSignal(form.changed) as caught:
        type_into(form.widgets["fit", "learning_rate"], "0.5")
    assert caught.args[0].fit.learning_rate == 0.5
    with qtbot.waitSignal(form.changed) as caught:
        type_into(form.widgets["fit", "learning_rate"], "")
    assert caught.args[0].fit.learning_rate is None


def type_into(widget, text, *, end=True):
    """Type over what a field holds, and press Enter maybe."""
    line = widget.native.findChild(QLineEdit) or widget.native
    line.setFocus()
    line.selectAll()
    QTest.keyClick(line, Qt.Key.Key_Delete)
    QTest.keyClicks(line, text)
    if end:
        QTest.keyClick(line, Qt.Key.Key_Return)


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [(("model", "weights"), "none", "none"), (("model", "channels"), "12", 12)],
)
def test_nothing_counts_before_it_is_typed_to_its_end(add, path, text, wanted):
    form, heard = add(ConfigForm(Config())), []
    form.changed.connect(heard.append)
    type_into(form.widgets[path], text, end=False)
    assert not heard  # another network at each letter would forget what was learnt
    type_into(form.widgets[path], text)
    assert [getattr(config.model, path[1]) for config in heard] == [wanted]


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        (("fit", "learning_rate"), "-1", "Learning rate should be greater than 0."),
        (("fit", "learning_rate"), "high", "Learning rate should be a valid number."),
        (("fit", "crop_size"), "100", "Crop size should be a multiple of 32."),
    ],
)
def test_nonsense_is_explained_at_its_field_and_not_emitted(add, qtbot, path, text, why):
    form = add(ConfigForm(Config()))
    form.resize(300, 700)
    with qtbot.assertNotEmitted(form.changed):
        type_into(form.widgets[path], text)
    assert form.problem.isVisible()
    assert form.problem.text() == why
    QApplication.processEvents()
    gap = form.problem.geometry().top() - form.widgets[path].native.geometry().bottom()
    assert 0 < gap < 10
    type_into(form.widgets[path], "64" if "size" in path[1] else "")
    assert not form.problem.isVisible()


def test_showing_a_config_emits_nothing(add, qtbot):
    form = add(ConfigForm(Config()))
    other = Config(model=ModelSpec(name="fcn_resnet50", channels=4), seed=3)
    with qtbot.assertNotEmitted(form.changed):
        form.show_config(other)
    assert form.widgets["seed",].value == 3
    assert form.widgets["model", "name"].value == "fcn_resnet50"


def test_the_form_keeps_the_device_that_has_its_own_control(add, qtbot):
    form = add(ConfigForm(Config(device="cpu")))
    with qtbot.waitSignal(form.changed) as caught:
        form.widgets["seed",].value = 5
    assert caught.args[0] == Config(device="cpu", seed=5)


# -- the plot -------------------------------------------------------------------------------------


def report(first, last, used):
    points = tuple(LossPoint(s, 1 / s, 0.5 / s, 0.2 / s) for s in range(first, last + 1))
    return RoundReport("m", last, points, used, 3, (), converged=False)


def loss_report(first, totals):
    points = tuple(LossPoint(first + i, total, 0.0, 0.0) for i, total in enumerate(totals))
    return RoundReport("m", points[-1].step, points, 2, 3, (), converged=False)


def test_alike_regions_are_spoken_of_only_where_there_are_some(qtbot):
    view = AlikeView()
    qtbot.addWidget(view)
    assert not view.isVisible()
    view.show_text("Regions 2, 3 of cells look alike: they are learnt as one.")
    assert view.isVisible()
    with qtbot.waitSignal(view.merge_requested):
        qtbot.mouseClick(view.merge, Qt.MouseButton.LeftButton)
    view.show_text("Regions 2, 3 of cells look alike: they are learnt as one.", can_merge=False)
    assert not view.merge.isEnabled()
    view.show_text("")
    assert not view.isVisible()


def test_the_plots_numbers_neither_overlap_nor_say_minus_nothing(add):
    plot = add(LossPlot())
    for low in (-0.0, -2e-5, -0.5):
        plot._label(low, 1e-3 if low > -0.1 else 0.4)
        ticks = dict(plot._losses.getAxis("left")._tickLevels[0])
        assert "−0" not in ticks.values()
        marks = sorted(ticks)
        span = marks[-1] - marks[0]
        assert min(b - a for a, b in itertools.pairwise(marks)) > 0.15 * span


def test_the_plot_draws_all_terms_and_the_channels(add):
    plot = add(LossPlot())
    plot.clear()
    assert not plot.isVisible()
    plot.add(report(1, 10, 2))
    plot.add(report(11, 20, 3))
    plot.draw()
    assert plot.isVisible()
    for name in ("total", "uniformer", "discriminator"):
        steps, values = plot.curve(name)
        assert list(steps) == list(range(1, 21))
        assert values[-1] == pytest.approx({"total": 1, "uniformer": 0.5}.get(name, 0.2) / 20)
    assert "Channels in use: 3" in plot.caption.text()


def test_only_the_first_steps_leave_the_plots_scale(add):
    plot = add(LossPlot())
    plot.add(loss_report(1, [100.0] * 5 + [1.0] * 195))
    plot.draw()
    _, high = plot._losses.viewRange()[1]
    assert 1 < high < 2
    plot.add(loss_report(201, [5.0] * 8))  # new paint
    plot.draw()
    _, high = plot._losses.viewRange()[1]
    assert 5 < high < 10


@pytest.mark.parametrize("used", [2, 4, 12, 24, 64])
def test_the_topmost_number_of_channels_is_not_cut(add, qtbot, used):
    plot = add(LossPlot())
    plot.add(report(1, 10, used))
    plot.draw()
    qtbot.wait(10)
    _, high = plot._channels.viewRange()[1]
    height = plot._channels.getViewBox().height()
    assert (high - max(used, 3)) / high * height >= 6  # half a digit's height


def test_a_training_that_starts_solved_still_says_how_low_its_loss_is(add):
    plot = add(LossPlot())
    points = tuple(LossPoint(step, -1e-4, 0.0, -1e-3) for step in range(1, 9))
    plot.add(RoundReport("m", 8, points, 2, 2, (), converged=True))
    plot.draw()
    assert "total loss: −0.0001" in plot.caption.text()
    low, high = plot._losses.viewRange()[1]
    # The lines lie apart by more than their own width instead of all on the zero line.
    assert 0.9e-3 / (high - low) * plot._losses.height() > 10
    (marks,) = plot._losses.getAxis("left")._tickLevels
    assert {text for _, text in marks} == {"−0.001", "0", "0.001"}


def test_a_fresh_training_begins_the_plot_anew(add):
    plot = add(LossPlot())
    plot.add(report(1, 10, 2))
    plot.add(report(1, 5, 2))
    plot.draw()
    assert list(plot.curve("total")[0]) == [1, 2, 3, 4, 5]
    plot.clear()
    assert not plot.isVisible()


# -- all of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_clipped_in_a_narrow_panel(add, theme):
    """At the preferred width, each visible button and label has room for its own text."""
    panel = add(Panel(Config()))
    panel.set_theme(theme)
    panel.show_project(True)
    panel.settings.expand()
    panel.resize(panel.sizeHint().width(), 900)
    panel.grab()
    assert panel.sizeHint().width() <= 360
    inner = panel.scroll.widget()
    assert inner.minimumSizeHint().width() <= panel.scroll.viewport().width()
    for view in (panel.train.new_region, panel.train.run, panel.results.accept):
        text = view.fontMetrics().horizontalAdvance(view.text())
        assert text <= view.width()


def test_other_plugins_leave_room_for_the_buttons_used_most(add):
    panel = add(Panel(Config()))
    panel.show_project(True)
    panel.resize(panel.minimumSizeHint())
    panel.grab()
    run, viewport = panel.train.run, panel.scroll.viewport()
    assert run.mapTo(viewport, run.rect().bottomLeft()).y() < viewport.height()
