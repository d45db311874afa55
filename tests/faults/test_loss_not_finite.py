"""NaN in a real worker's loss: the last good state with a lower rate, said; nothing bad on disk."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from napari_cas.config import Config, FitConfig
from napari_cas.jobs import LocalExecutor
from napari_cas.session import NewImage, Session, State

pytestmark = pytest.mark.slow
WAIT = 280


@pytest.fixture
def executor(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with LocalExecutor(nice=0) as executor:
        yield executor


@pytest.fixture
def learnt(executor, tmp_path):
    """A session that has learnt two regions in a worker of its own; all it heard is in `heard`."""
    image = np.random.default_rng(0).normal(80, 12, (128, 128))
    image[:, 64:] += 80
    session = Session(
        executor=executor, config=Config(fit=FitConfig(round_seconds=600, max_rounds=1))
    )
    session.heard = []
    session.messaged.connect(session.heard.append)
    new = NewImage("halves", image.clip(0, 255).astype(np.uint8), "yx")
    session.create_project(tmp_path / "p.zarr", [new])
    session.image.regions[10:40, 10:40] = 1
    session.image.regions[10:40, -40:-10] = 2
    session.stroke_finished()
    for _ in range(2):
        train(session)
    assert session.heard == []
    yield session
    session.close()


def train(session):
    session.fine_tune()
    assert session.run_until_idle(WAIT)


def spoil(executor, first, times):
    executor.submit("worker_functions:spoil_loss", first, times).result(WAIT)


def state_of(session, name):
    """Return a checkpoint's tensors and how far it says that training has come."""
    tensors, record = session.project.load_model(name)
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    return tensors, record["training"]


def models_on_disk(session):
    """Return the bytes of all files of all models."""
    folder = session.project.path / "models"
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_training_goes_on_from_the_last_good_state_with_a_lower_rate(executor, learnt):
    good = learnt.checkpoint
    before, training = state_of(learnt, good)
    rate = training["learning_rate"]
    spoil(executor, first=40, times=2)
    train(learnt)
    assert [message.level for message in learnt.heard] == ["warning"] * 2
    for message, part in zip(learnt.heard, (2, 4), strict=True):
        assert "not finite" in str(message)
        assert f"learning rate {rate / part:g}" in str(message)
    assert learnt.state is State.READY
    assert learnt.checkpoint != good
    after, training = state_of(learnt, learnt.checkpoint)
    assert training["learning_rate"] == rate / 4
    assert after.keys() == before.keys()
    assert any(not np.array_equal(after[name], before[name]) for name in after)
    # Steps before the first NaN were taken back: Adam's own counter says how many count.
    taken = {int(value) for name, value in after.items() if name.endswith(".step")}
    assert taken == {100 - 40 - 2}
    again, _ = state_of(learnt, good)  # the one gone back to is still there, as it was
    assert all(np.array_equal(again[name], before[name]) for name in before)
    assert np.asarray(learnt.image.prediction_view[...]).all()
    # The lower rate is the checkpoint's, not the process's: another worker goes on with it.
    learnt.heard.clear()
    os.kill(executor.submit("os:getpid").result(WAIT), signal.SIGKILL)
    train(learnt)
    assert all("died" in str(message) for message in learnt.heard)
    assert state_of(learnt, learnt.checkpoint)[1]["learning_rate"] == rate / 4


def test_a_loss_that_stays_nan_is_said_and_leaves_the_good_checkpoint_alone(executor, learnt):
    good, files = learnt.checkpoint, models_on_disk(learnt)
    labels = np.asarray(learnt.image.prediction_view[...])
    spoil(executor, first=3, times=1000)
    train(learnt)
    (told,) = learnt.heard
    assert told.level == "error"
    assert "does not converge" in told.text
    assert "Lower the learning rate" in told.action
    assert learnt.state is State.READY
    assert learnt.checkpoint == good == learnt.project.get_state()["checkpoint"]
    assert models_on_disk(learnt) == files
    assert np.array_equal(np.asarray(learnt.image.prediction_view[...]), labels)
    assert learnt.image.regions.ids(()) == {1: 900, 2: 900}
    learnt.heard.clear()
    executor.submit("worker_functions:heal_loss").result(WAIT)
    train(learnt)
    assert learnt.heard == []
    assert learnt.checkpoint != good
    state_of(learnt, learnt.checkpoint)
