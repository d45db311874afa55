"""How much is predicted unasked, with a worker that only notes what it is told to predict."""

from concurrent.futures import Future

import numpy as np
import pytest

from napari_cas.protocol import Box, RoundReport, RoundRequest, Tile, TilesReport
from napari_cas.session import NewImage, Session, State, extent
from napari_cas.store import Project

WAIT = 20
SIDE = 4096


class Noting:
    """An executor that does rounds and batches at once: marks tiles as predicted, keeps a list."""

    slots = 1
    awaited = ()

    def __init__(self):
        self.views, self.tiles = [], []

    def submit(self, function, request):
        future = Future()
        future.set_result(self._done(request))
        return future

    def _done(self, request):
        with Project.open(request.project, mode="worker") as project:
            if isinstance(request, RoundRequest):
                self.views.append(request.view)
                project.save_model("model", {"w": np.zeros(1, np.float32)}, {})
                return RoundReport("model", 1, (), 2, 2, (request.view,), True)
            for tile in request.tiles:
                self.tiles.append(tile)
                project.image(tile.image).mark_predicted("model", [(tile.plane, tile.box)])
        return TilesReport(request.tiles, {"predict": len(request.tiles)})  # so one at a time

    def shutdown(self):
        pass


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr(extent, "WHOLE_LIMIT", 2048)
    monkeypatch.setattr(extent, "SEEN_LIMIT", 2048)
    texture = np.tile(np.arange(64, dtype=np.uint8), (SIDE, SIDE // 64))
    session = Session(executor=Noting())
    session.create_project(tmp_path / "p.zarr", [NewImage("huge", texture, "yx")])
    yield session
    session.close()


def test_what_jobs_wait_for_is_told_when_they_start(session, monkeypatch):
    heard = []
    session.messaged.connect(heard.append)
    monkeypatch.setattr(Noting, "awaited", ("Waiting for somebody.",))
    train(session)
    assert [m.text for m in heard if m.level == "warning"].count("Waiting for somebody.") >= 1


def train(session):
    session.image.regions[600:620, 600:640] = 1
    session.image.regions[700:720, 600:640] = 2
    session.fine_tune()


def corners(session):
    return [tile.box[:2] for tile in session._work.executor.tiles]


def touching(box):
    return {
        (y, x)
        for y in range(box.y0 // 512 * 512, box.y1, 512)
        for x in range(box.x0 // 512 * 512, box.x1, 512)
    }


def test_of_a_huge_plane_only_what_is_seen_follows_nearest_first(session):
    seen = Box(500, 500, 2000, 2000)
    session.set_view((), seen)
    assert session.seen == Tile("huge", (), seen)
    train(session)
    assert session.run_until_idle(WAIT)
    assert [view.box for view in session._work.executor.views] == [Box(738, 738, 1762, 1762)]
    assert set(corners(session)) == touching(seen)
    assert len(corners(session)) == 16
    assert corners(session)[0] == (1024, 1024)
    assert corners(session)[-1] in ((0, 0), (0, 1536), (1536, 0), (1536, 1536))


def test_an_overview_of_a_huge_plane_is_cut_around_its_centre(session):
    session.set_view((), Box(0, 0, SIDE, SIDE))
    train(session)
    assert session.run_until_idle(WAIT)
    assert set(corners(session)) == touching(Box(1024, 1024, 3072, 3072))


def test_a_view_that_the_round_covers_is_all(session):
    session.set_view((), Box(500, 500, 1500, 1500))
    train(session)
    assert session.run_until_idle(WAIT)
    assert corners(session) == []


def test_a_plane_that_is_not_huge_is_completed(session, monkeypatch):
    monkeypatch.setattr(extent, "WHOLE_LIMIT", SIDE)
    session.set_view((), Box(500, 500, 1500, 1500))
    train(session)
    assert session.run_until_idle(WAIT)
    assert set(corners(session)) == touching(Box(0, 0, SIDE, SIDE))


def test_going_elsewhere_meanwhile_leaves_the_old_place(session):
    there = Box(2600, 2600, 3900, 3900)

    def go(tile):
        if len(corners(session)) == 1:
            session.set_view((), there)

    session.set_view((), Box(0, 0, 2000, 2000))
    train(session)
    session.prediction_changed.connect(go)
    progress = []
    session.progressed.connect(progress.append)
    assert session.run_until_idle(WAIT)
    assert set(corners(session)[1:]) == touching(there)
    assert len(corners(session)) == 1 + 9
    assert all(p.done <= p.total for p in progress)
    assert max(p.total for p in progress if p.text == "Predicting") == 16


def test_going_elsewhere_afterwards_predicts_what_is_seen_there(session):
    session.set_view((), Box(0, 0, 900, 900))
    train(session)
    assert session.run_until_idle(WAIT)
    there = Box(2600, 2600, 3900, 3900)
    session.set_view((), there)
    session.predict_view()
    assert session.run_until_idle(WAIT)
    assert session._work.executor.views[-1].box == Box(2738, 2738, 3762, 3762)
    assert set(corners(session)) == touching(there)


def test_predict_all_is_heard_while_something_is_predicted_unasked(session):
    session.set_view((), Box(0, 0, 1500, 1500))
    train(session)
    asked = []

    def ask(_tile):
        if len(corners(session)) == 2:
            asked.append((session.state, session.predicting_all))
            session.predict_all()
            asked.append((session.state, session.predicting_all))

    session.prediction_changed.connect(ask)
    assert session.run_until_idle(WAIT)
    assert asked == [(State.PREDICTING, False), (State.PREDICTING, True)]
    assert not session.predicting_all
    assert set(corners(session)) == touching(Box(0, 0, SIDE, SIDE))
    assert len(corners(session)) == 64


def test_what_was_cancelled_goes_on_after_a_restart_without_doing_tiles_twice(session, tmp_path):
    session.set_view((), Box(0, 0, 900, 900))
    train(session)
    assert session.run_until_idle(WAIT)
    session.prediction_changed.connect(
        lambda _: session.cancel() if len(corners(session)) == 10 else None
    )
    stopped = []
    session.predicted_all.connect(stopped.append)
    session.predict_all()
    assert session.run_until_idle(WAIT)
    assert session.state is State.READY
    assert stopped == [False]
    before = corners(session)
    assert len(before) == 10
    session.close()
    again = Session(executor=Noting())
    again.open_project(tmp_path / "p.zarr")
    again.predict_all()
    assert again.run_until_idle(WAIT)
    assert len(corners(again)) == 54
    assert not {*before} & {*corners(again)}
    again.close()
