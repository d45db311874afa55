"""Where work is done: remembered on this computer, changed while a project is open."""

import os

import numpy as np
import pytest

from napari_cas.config import ClusterSettings, Config, FitConfig
from napari_cas.errors import StorageError
from napari_cas.session import NewImage, machine
from napari_cas.session.background import BackgroundSession
from napari_cas.session.dispatch import DispatchQueue

WAIT = 200


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_it_is_remembered_and_what_is_damaged_is_not_believed(own_home):
    assert machine.load() == ClusterSettings()
    cluster = ClusterSettings(scheduler="tcp://gpu:8786", resources="GPU=1")
    machine.save(cluster)
    assert machine.load() == cluster
    machine.file().write_text('{"scheduler": 7}')
    assert machine.load() == ClusterSettings()
    machine.file().unlink()
    own_home.rmdir()
    own_home.write_text("in the way")
    with pytest.raises(StorageError):
        machine.save(cluster)


class Owned(BackgroundSession):
    """A session with a queue that this test runs."""

    def __init__(self, **options):
        self.queue, self.heard = DispatchQueue(), []
        super().__init__(dispatch=self.queue, **options)
        self.messaged.connect(self.heard.append)

    def settle(self, future=None):
        assert self.queue.run_until(
            lambda: self.idle and (future is None or future.done()), WAIT
        ), self.heard


def test_a_cluster_that_does_not_answer_changes_nothing():
    session = Owned()
    before = session._work.executor
    future = session.run_on_later(ClusterSettings(scheduler="tcp://127.0.0.1:9", resources="GPU"))
    assert session.queue.run_until(future.done, WAIT)
    assert "NAME=NUMBER" in session.heard[-1].text
    assert session._work.executor is before
    session.close()


@pytest.mark.slow
def test_from_this_machine_to_a_cluster_and_back(start_cluster, tmp_path):
    image = np.random.default_rng(0).normal(80, 12, (128, 128))
    image[:, 64:] += 80
    session = Owned(config=Config(fit=FitConfig(round_seconds=0.2, max_rounds=1)))
    session.create_project(tmp_path / "p.zarr", [NewImage("a", image.clip(0, 255), "yx")])
    session.image.regions[5:30, 5:30], session.image.regions[5:30, 90:120] = 1, 2
    session.warm_up()
    session.settle()
    here = session.worker.pid
    session.settle(session.run_on_later(ClusterSettings(scheduler=start_cluster(1).address)))
    away = session.worker.pid
    assert away not in (here, os.getpid())
    session.fine_tune()
    session.settle()
    assert session.checkpoint is not None
    assert np.asarray(session.image.prediction[...]).all()
    session.settle(session.run_on_later(ClusterSettings()))
    assert session.worker.pid not in (here, away)
    session.predict_view()
    session.settle()
    session.close()
    assert [m for m in session.heard if m.level == "error"] == []
