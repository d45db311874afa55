"""kill -9 of the worker at random moments: rounds cost, nothing is lost, nothing is torn."""

import os
import random
import signal
import time

import numpy as np
import psutil
import pytest

from napari_cas.config import Config, FitConfig
from napari_cas.session import NewImage, Session
from napari_cas.store import Project

WAIT = 280


def halves():
    image = np.random.default_rng(0).normal(80, 12, (128, 128))
    image[:, 64:] += 80
    return image.clip(0, 255).astype(np.uint8)


def another_round(session, reports):
    """Go on until one more round has reported, training anew where it has converged."""
    before, end = len(reports), time.monotonic() + WAIT
    while len(reports) == before:
        if session.run_until_idle(0.05):
            session.fine_tune()
        assert time.monotonic() < end


def place(stroke):
    """Return the ten pixels of a stroke in the dark half, apart from those of others."""
    column = 10 + 12 * (stroke // 90)
    return 32 + stroke % 90, slice(column, column + 10)


def assert_consistent(path, strokes):
    """Look at a project as it is on disk: strokes, whole models, no torn chunk."""
    with Project.open(path, "r") as project:
        entry = project.image("halves")
        for stroke in strokes:
            assert (np.asarray(entry.regions[place(stroke)]) == 1).all()
        for model in project.models:
            project.load_model(model)
        labels = np.asarray(entry.prediction[...])
        assert labels.max() <= 8
        assert project.problems == ()


@pytest.mark.slow  # one kill is among the session's own tests
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kills", "seed"), [(100, 1)])
def test_killed_at_random_moments(tmp_path, kills, seed):
    moment = random.Random(seed)
    session = Session(config=Config(fit=FitConfig(round_seconds=0.2, max_rounds=10_000)))
    messages, reports = [], []
    session.messaged.connect(messages.append)
    session.reported.connect(reports.append)
    session.create_project(tmp_path / "p.zarr", [NewImage("halves", halves(), "yx")])
    session.image.regions[10:30, 10:40] = 1
    session.image.regions[10:30, 90:120] = 2
    session.stroke_finished()
    session.warm_up()
    assert session.run_until_idle(WAIT)
    session.fine_tune()
    done = 0
    for stroke in range(3, 3 + kills):
        # Paint while it trains, let at least one round pass, then kill at any moment of the next.
        session.image.regions[place(stroke)] = 1
        session.stroke_finished()
        another_round(session, reports)
        pid = session.worker.pid
        session.run_until_idle(moment.uniform(0, 0.4))
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
            done += 1
        assert_consistent(session.project.path, strokes=range(3, stroke + 1))
    another_round(session, reports)
    session.cancel()
    assert session.run_until_idle(WAIT)
    assert done == kills
    assert {message.level for message in messages} <= {"warning"}
    assert sum("died" in str(message) for message in messages) >= 1
    steps = [report.steps for report in reports]
    assert steps == sorted(steps)  # each round went on from the last checkpoint
    checkpoint = session.checkpoint
    session.close()
    assert_consistent(tmp_path / "p.zarr", strokes=range(3, 3 + kills))
    with Project.open(tmp_path / "p.zarr") as project:
        assert project.problems == ()
        assert checkpoint in project.models
        entry = project.image("halves")
        assert entry.predicted_with(checkpoint)
        assert (np.asarray(entry.prediction[...]) > 0).all()
