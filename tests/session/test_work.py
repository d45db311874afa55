"""The session with the real worker and the real engine: train, predict, stop, die, come back."""

import os
import signal
import sys
import time

import numpy as np
import psutil
import pytest

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.errors import CheckpointError, StorageError
from napari_cas.jobs import LocalExecutor
from napari_cas.protocol import Box
from napari_cas.session import NewImage, Session, State
from napari_cas.store import Project
from napari_cas.store.validate import validate

WAIT = 200
HALVES = slice(None, 60), slice(68, None)
QUICK = Config(fit=FitConfig(round_seconds=0.2, max_rounds=3))


@pytest.fixture(scope="module")
def executor():
    """Share one warm worker, because importing torch takes longest."""
    with LocalExecutor() as executor:
        yield executor


def halves(seed=0, shape=(128, 128)):
    """Return an image, dark on the left, bright on the right, and textured a little."""
    image = np.random.default_rng(seed).normal(80, 12, shape)
    image[..., shape[-1] // 2 :] += 80
    return image.clip(0, 255).astype(np.uint8)


class Heard:
    def __init__(self, session):
        self.messages, self.states, self.reports, self.tiles = [], [], [], []
        self.progress, self.predicted_all = [], []
        session.predicted_all.connect(self.predicted_all.append)
        session.messaged.connect(self.messages.append)
        session.state_changed.connect(self.states.append)
        session.reported.connect(self.reports.append)
        session.prediction_changed.connect(self.tiles.append)
        session.progressed.connect(self.progress.append)

    @property
    def texts(self):
        return [str(message) for message in self.messages]


@pytest.fixture
def session(executor, tmp_path):
    session = Session(executor=executor, config=QUICK)
    session.heard = Heard(session)
    session.create_project(tmp_path / "p.zarr", [NewImage("halves", halves(), "yx")])
    yield session
    session.close()


def paint(session):
    session.image.regions[10:30, 10:40] = session.new_region()
    session.image.regions[10:30, 90:120] = session.new_region()
    session.stroke_finished()


def predicted(session):
    return np.asarray(session.image.prediction_view[...])


def finish(session):
    assert session.run_until_idle(WAIT)
    assert session.state is State.READY


def test_one_click_from_strokes_to_a_segmentation(session, tmp_path):
    session.warm_up()
    assert session.state is State.WARMING
    finish(session)
    assert psutil.Process(session.worker.pid).ppid() == os.getpid()
    paint(session)
    session.fine_tune()
    assert session.state is State.TRAINING
    finish(session)
    heard = session.heard
    assert not heard.messages
    assert heard.states[-2:] == [State.TRAINING, State.READY]
    assert 1 <= len(heard.reports) <= 3
    assert session.reports == tuple(heard.reports)
    assert {tile.box for tile in heard.tiles} == {Box(0, 0, 128, 128)}
    assert heard.progress[-1].finished
    labels = predicted(session)
    left, right = labels[35:, :60], labels[35:, 68:]
    most = [np.bincount(part.ravel()).argmax() for part in (left, right)]
    assert most[0] != most[1]
    assert (left == most[0]).mean() > 0.8
    assert (right == most[1]).mean() > 0.8
    assert "torch" not in sys.modules


def test_reopening_brings_back_model_and_prediction(session, executor, tmp_path):
    paint(session)
    session.fine_tune()
    finish(session)
    labels, checkpoint = predicted(session), session.checkpoint
    session.close_project()
    again = Session(executor=executor)
    again.open_project(tmp_path / "p.zarr")
    assert again.checkpoint == checkpoint
    assert again.config == QUICK
    assert np.array_equal(predicted(again), labels)
    again.predict_view()
    assert again.state is State.PREDICTING
    assert again.run_until_idle(WAIT)
    assert np.array_equal(predicted(again), labels)
    again.close()


def test_a_stroke_trains_in_live_mode_and_one_during_training_trains_once_more(session):
    session.live = True
    assert session.idle  # nothing is painted yet
    paint(session)
    assert session.idle is False
    chains = []
    session.progressed.connect(
        lambda step: chains.append(step.text == "Fine-tuning" and step.done == 0)
    )

    def paint_once(report):
        if len(session.heard.reports) == 1:
            session.image.regions[60:80, 10:40] = 1
            session.stroke_finished()

    session.reported.connect(paint_once)
    finish(session)
    assert sum(chains) == 2
    session.live = False


def test_the_prediction_follows_a_correction_before_it_is_trained_on(session):
    paint(session)
    session.fine_tune()
    finish(session)
    before, checkpoint, reports = predicted(session), session.checkpoint, len(session.reports)
    wrong = np.s_[70:90, 20:40]
    label = before[20, 100]
    session.image.prediction_view[wrong] = label
    session.corrected((), Box(70, 20, 90, 40))
    finish(session)
    assert session.checkpoint == checkpoint
    assert [report.losses for report in session.reports[reports:]] == [()]
    after = np.asarray(session.image.prediction[...])
    assert (after[wrong] == label).mean() > 0.9  # the worker's own, not what was painted on it
    assert (after[68:92, 18:42] == label).sum() > 1.2 * 400
    assert (after != before)[:, 68:].mean() < 0.01
    assert State.TRAINING not in session.heard.states[-2:]


def test_a_stroke_while_tiles_are_predicted_is_followed_afterwards(session):
    session.add_images([NewImage("large", halves(shape=(600, 1400)), "yx")])
    paint(session)
    session.fine_tune()
    finish(session)
    session.predict_all()

    def paint_once(tile):
        if tile.image == "large" and not session.image.corrections[70:90, 20:40].any():
            session.image.prediction_view[70:90, 20:40] = predicted(session)[20, 100]
            session.corrected((), Box(70, 20, 90, 40))

    session.prediction_changed.connect(paint_once)
    finish(session)
    assert session.heard.predicted_all == [True]
    inside = np.asarray(session.image.prediction[68:92, 18:42])
    assert (inside == predicted(session)[20, 100]).sum() > 1.2 * 400


def test_regions_that_look_alike_are_told_of_and_merged_at_one_call(session):
    session.add_images([NewImage("large", halves(shape=(512, 512)), "yx")])
    session.select_image("large")
    regions = session.image.regions
    regions[50:460, 50:200], regions[50:150, 300:460], regions[350:450, 300:460] = 1, 2, 3
    session.stroke_finished()
    session.fine_tune()
    finish(session)
    assert [tuple(group) for group in session.alike] == [("large", (), (2, 3))]
    assert not session.heard.texts
    assert session.merge_alike() == 1
    assert not session.alike
    assert set(regions.ids(())) == {1, 2}
    assert (np.asarray(regions[350:450, 300:460]) == 2).all()
    session.fine_tune()
    finish(session)
    assert not session.alike


def test_nobody_is_ready_between_learning_and_predicting_the_rest(session):
    session.set_view((), Box(0, 0, 60, 60))
    paint(session)
    session.heard.states.clear()
    session.fine_tune()
    finish(session)
    assert session.heard.states[-3:] == [State.TRAINING, State.PREDICTING, State.READY]


def test_cancelling_acts_within_one_round(session):
    session.config = Config(fit=FitConfig(round_seconds=0.2, max_rounds=1000))
    paint(session)
    session.fine_tune()
    session.run_until_idle(0.01)
    session.reported.connect(lambda _: session.cancel() if session.state.busy else None)
    finish(session)
    assert State.STOPPING in session.heard.states
    assert len(session.heard.reports) == 1
    assert session.checkpoint == session.heard.reports[0].checkpoint


def test_kill_9_of_the_worker_in_mid_round_costs_one_round(session):
    session.warm_up()
    finish(session)
    session.config = Config(fit=FitConfig(round_seconds=0.5, max_rounds=2))
    paint(session)
    first = session.worker.pid
    session.fine_tune()
    session.run_until_idle(0.05)
    assert not session.heard.reports  # so it is in mid-round
    os.kill(first, signal.SIGKILL)
    finish(session)
    assert any("worker process died" in text for text in session.heard.texts)
    assert all(message.level == "warning" for message in session.heard.messages)
    assert session.heard.reports  # the round was done again, by a new worker
    assert len(session.heard.reports) == 2 or session.heard.reports[-1].converged
    assert session.worker.pid != first
    assert int(session.image.regions[15, 15]) == 1


def test_predicting_everything_and_not_twice(session, executor, tmp_path):
    session.add_images([NewImage("stack", halves(1, (2, 700, 128)), "zyx")])
    paint(session)
    session.fine_tune()
    finish(session)
    session.heard.tiles.clear()
    session.predict_all()
    assert session.state is State.PREDICTING
    finish(session)
    assert session.heard.predicted_all == [True]
    tiles = session.heard.tiles
    # The first image is one tile, predicted in the last round; the stack has two tiles a plane.
    assert sorted((tile.plane, tile.box.y0) for tile in tiles if tile.image == "stack") == [
        ((0,), 0),
        ((0,), 512),
        ((1,), 0),
        ((1,), 512),
    ]
    session.select_image("stack")
    assert (predicted(session) > 0).all()
    session.close_project()
    again = Session(executor=executor)
    heard = Heard(again)
    again.open_project(tmp_path / "p.zarr")
    again.predict_all()
    assert again.run_until_idle(WAIT)
    assert not heard.tiles
    assert heard.predicted_all == [True]  # there is nothing to do, and that is said
    again.close()


def test_predicting_all_that_is_asked_for_while_stopping_follows(session):
    session.add_images([NewImage("stack", halves(1, (2, 700, 128)), "zyx")])
    paint(session)
    session.fine_tune()
    finish(session)
    for count, begin in enumerate((session.predict_all, session.fine_tune), 1):
        begin()
        session.cancel()
        session.predict_all()  # a batch of tiles, or a round, is still under way
        assert session.state is State.STOPPING
        finish(session)
        assert session.heard.predicted_all == [True] * count
        assert not session.predicting_all
    session.select_image("stack")
    assert (predicted(session) > 0).all()


def test_going_elsewhere_during_the_last_round_is_followed(session):
    session.add_images([NewImage("stack", halves(1, (3, 128, 128)), "zyx")])
    session.config = Config(fit=FitConfig(round_seconds=0.2, max_rounds=1))
    paint(session)
    session.select_image("stack")
    session.fine_tune()
    session.set_view((2,), Box(0, 0, 128, 128))  # the round is under way for plane 1
    finish(session)
    assert [tile.plane for tile in session.heard.tiles] == [(1,), (2,)]


def test_the_rest_of_a_plane_follows_when_the_view_has_converged(session):
    session.add_images([NewImage("wide", halves(1, (300, 1300)), "yx")])
    paint(session)
    session.select_image("wide")
    session.fine_tune()
    finish(session)
    labels = predicted(session)
    assert (labels > 0).all()
    assert session.heard.tiles[0].box == Box(0, 138, 300, 1162)


def test_a_model_goes_from_one_project_to_another(session, executor, tmp_path):
    paint(session)
    session.fine_tune()
    finish(session)
    labels = predicted(session)
    saved = session.save_model(tmp_path / "model")
    assert {path.name for path in saved.iterdir()} == {"weights.safetensors", "model.json"}
    other = Session(executor=executor, config=Config(model=ModelSpec(channels=5)))
    other.create_project(tmp_path / "other.zarr", [NewImage("halves", halves(), "yx")])
    (saved.parent / "a.png").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"No readable model at .*a\.png"):
        other.load_model(saved.parent / "a.png")
    other.load_model(saved / "model.json")
    assert other.config.model.channels == session.config.model.channels
    other.predict_view()
    assert other.run_until_idle(WAIT)
    assert np.array_equal(predicted(other), labels)
    other.close()
    colours = Session(executor=executor)
    rgb = np.stack([halves()] * 3, axis=-1)
    colours.create_project(tmp_path / "colours.zarr", [NewImage("rgb", rgb, "yxc")])
    with pytest.raises(CheckpointError, match="expected images with 1, got images with 3"):
        colours.load_model(saved)
    assert (colours.checkpoint, colours.project.models) == (None, ())
    colours.close()


def test_a_model_from_elsewhere_goes_on_from_one_correction(session, executor, tmp_path):
    paint(session)
    session.fine_tune()
    finish(session)
    saved = session.save_model(tmp_path / "model")
    other = Session(executor=executor, config=QUICK)
    heard = Heard(other)
    other.create_project(tmp_path / "other.zarr", [NewImage("more", halves(3), "yx")])
    other.load_model(saved)
    other.predict_view()
    assert other.run_until_idle(WAIT)
    labels = predicted(other)
    left, right = (int(np.bincount(labels[:, part].ravel()).argmax()) for part in HALVES)
    assert left != right
    other.image.prediction_view[50:60, 10:40] = right
    other.corrected((), Box(50, 10, 60, 40))
    other.fine_tune()
    assert other.run_until_idle(WAIT)
    assert not heard.messages
    assert other.reports[-1].regions == 1
    labels = predicted(other)
    assert (labels[50:60, 10:40] == right).all()
    assert (labels[:, HALVES[1]] == right).mean() > 0.9
    record = other.project.load_model(other.checkpoint)[1]
    (known,) = record["training"]["planes"]
    assert (known["image"], known["corrected"], known["channel"]) == (
        "more",
        True,
        {"1": right - 1},
    )
    other.close()


def test_after_a_reset_it_learns_from_the_start(session):
    paint(session)
    session.fine_tune()
    finish(session)
    assert session.reports[-1].losses[-1].step > 1
    session.reset_model()
    assert session.checkpoint is None
    assert session.reports == ()
    session.config = Config(fit=FitConfig(round_seconds=0.01, max_rounds=1))
    session.fine_tune()
    finish(session)
    assert session.reports[-1].losses[0].step <= 1


def test_exporting_what_was_done(session, tmp_path):
    paint(session)
    session.fine_tune()
    finish(session)
    future = session.export(tmp_path / "out.zarr")
    assert future.result(WAIT) == tmp_path / "out.zarr"
    session.run_until_idle(1)
    assert validate(tmp_path / "out.zarr") == []
    assert "Exported" in session.heard.texts[-1]
    again = session.export(tmp_path / "out.zarr")
    with pytest.raises(Exception, match="already"):
        again.result(WAIT)
    session.run_until_idle(1)
    assert session.heard.messages[-1].level == "error"


def test_missing_weights_are_a_message(session, tmp_path):
    missing = str(tmp_path / "missing.pth")
    session.config = Config(model=ModelSpec(weights=missing), fit=QUICK.fit)
    paint(session)
    session.fine_tune()
    finish(session)
    (message,) = session.heard.messages
    assert message.level == "error"
    assert "missing.pth" in message.text
    assert session.checkpoint is None


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on file sizes")
def test_a_full_disk_while_checkpointing_is_a_message_and_passes(session, executor):
    """A limit on file sizes in the worker makes the system refuse what a full disk would."""
    import resource

    paint(session)
    session.fine_tune()
    finish(session)
    checkpoint = session.checkpoint
    limit, unlimited = resource.RLIMIT_FSIZE, resource.RLIM_INFINITY
    executor.submit("resource:setrlimit", limit, (2000, unlimited)).result(WAIT)
    session.fine_tune()
    finish(session)
    executor.submit("resource:setrlimit", limit, (unlimited, unlimited)).result(WAIT)
    (message,) = session.heard.messages
    assert message.level == "error"
    assert isinstance(message.error, StorageError)
    assert session.checkpoint == checkpoint
    session.project.load_model(checkpoint)  # still whole
    assert int(session.image.regions[15, 15]) == 1
    session.fine_tune()
    finish(session)
    assert len(session.heard.messages) == 1
    assert session.checkpoint != checkpoint


def test_closing_in_the_middle_leaves_no_worker_and_a_project_to_go_on_with(tmp_path):
    session = Session(config=QUICK)
    session.create_project(tmp_path / "p.zarr", [NewImage("halves", halves(), "yx")])
    session.warm_up()
    assert session.run_until_idle(WAIT)
    pid = session.worker.pid
    paint(session)
    session.fine_tune()
    time.sleep(0.3)
    session.close()
    assert not psutil.pid_exists(pid)
    assert session.state is State.NO_PROJECT
    with Project.open(tmp_path / "p.zarr") as project:
        assert int(project.image("halves").regions[15, 15]) == 1
