"""How far the copy of a large image is."""

import threading
from contextlib import closing

import numpy as np
import pytest

from napari_cas.errors import ImageError, StorageError
from napari_cas.session import Session, copying
from napari_cas.session.background import BackgroundSession, start
from napari_cas.session.dispatch import DispatchQueue
from napari_cas.session.events import NewImage, Progress
from napari_cas.store import Project


@pytest.fixture
def eager(monkeypatch):
    """Every block is told of, as if copying took long."""
    monkeypatch.setattr(copying, "INTERVAL", 0)


def large():
    return NewImage("wide", np.arange(5000 * 3000, dtype=np.uint16).reshape(5000, 3000), "yx")


def heard(session):
    steps = []
    session.progressed.connect(steps.append)
    return steps


def test_a_long_copy_tells_how_far_it_is_and_that_it_ended(eager, tmp_path):
    with closing(Session()) as session:
        steps = heard(session)
        session.create_project(tmp_path / "a.zarr", [large()])
    assert {step.text for step in steps} == {"Copying wide"}
    *before, last = steps
    assert len(before) > 6
    assert [step.done for step in before] == sorted(step.done for step in before)
    assert not any(step.finished for step in before)
    assert last == Progress(1, 1, "Copying wide")


def test_in_a_thread_too_for_a_project_and_for_one_more_image(eager, tmp_path):
    waiting = DispatchQueue()
    with closing(BackgroundSession(dispatch=waiting)) as session:
        steps = heard(session)
        session.create_project_later(tmp_path / "a.zarr", [large()])
        assert waiting.run_until(lambda: session.images == ("wide",), 60)
        first = len(steps)
        session.add_images_later([large()])
        assert waiting.run_until(lambda: len(session.images) == 2, 60)
    assert first > 6
    assert {step.text for step in steps[first:]} == {"Copying wide-2"}
    assert steps[-1].finished


def test_a_project_that_is_made_as_the_session_ends_is_free_for_others(tmp_path):
    waiting = DispatchQueue()
    session = BackgroundSession(dispatch=waiting)
    session.create_project_later(tmp_path / "a.zarr", [large()])
    made = [thread for thread in threading.enumerate() if thread.name == "napari-cas"]
    for thread in made:
        thread.join(60)  # what it has made waits for the owner, who leaves
    session.close()
    Project.open(tmp_path / "a.zarr").close()
    waiting.run_until(lambda: True, 5)
    assert session.project is None


def test_a_project_that_cannot_be_gone_to_is_free_for_another_try(tmp_path):
    """As where the project that is open cannot be saved."""

    def refuse(_names):
        raise StorageError("The disk is full")

    waiting = DispatchQueue()
    with closing(BackgroundSession(dispatch=waiting)) as session:
        made = session.create_project_later(tmp_path / "a.zarr", [large()], before=refuse)
        with pytest.raises(StorageError):
            waiting.run_until(made.done, 60)
        assert session.project is None
        assert not (tmp_path / "a.zarr").exists()


def test_images_that_a_thread_took_before_an_error_are_told_of(tmp_path):
    waiting, told, said = DispatchQueue(), [], []
    good = NewImage("good", np.eye(64, dtype=np.uint8), "yx")
    bad = NewImage("bad", np.full((8, 8), np.nan, np.float32), "yx")
    with closing(BackgroundSession(dispatch=waiting)) as session:
        session.create_project(tmp_path / "a.zarr", [good])
        session.images_changed.connect(told.append)
        session.messaged.connect(lambda message: said.append((message.level, session.images)))
        added = session.add_images_later([good, bad])
        with pytest.raises(ImageError, match="bad"):
            waiting.run_until(added.done, 60) and added.result()
        assert told == [("good", "good-2")]
        assert said[-1] == ("error", ("good", "good-2"))


def test_whoever_waits_hears_of_an_error_even_if_telling_of_it_fails():
    def fail(*_):
        raise ZeroDivisionError

    waiting = DispatchQueue()
    future = start(fail, waiting, done=print, failed=fail)
    with pytest.raises(ZeroDivisionError):
        waiting.run_until(future.done, 10)
    assert isinstance(future.exception(0), ZeroDivisionError)


def test_a_short_one_is_not_spoken_of(tmp_path):
    with closing(Session()) as session:
        steps = heard(session)
        small = NewImage("small", np.eye(64, dtype=np.uint8), "yx")
        session.create_project(tmp_path / "a.zarr", [small])
    assert steps == []


def test_a_failed_one_ends_as_well(eager):
    steps = []

    def copy():
        with copying.copying("a", steps.append) as step:
            step(3, 9)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        copy()
    assert steps == [Progress(3, 9, "Copying a"), Progress(1, 1, "Copying a")]
