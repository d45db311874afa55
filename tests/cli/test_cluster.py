"""A project on a Dask cluster's workers: the same labels as at home."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_cas.config import Config, FitConfig, PredictConfig
from napari_cas.jobs.dask import DaskExecutor
from napari_cas.session import NewImage, Session
from napari_cas.store import Project

pytest.importorskip("distributed")
WAIT = 280


def start(kind, *options):
    module = f"distributed.cli.dask_{kind}"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, *map(str, options)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def cluster(tmp_path):
    """Return a function that starts a scheduler with some workers and returns its address."""
    processes = []

    def begin(workers):
        file = tmp_path / f"scheduler-{len(processes)}.json"
        common = ("--no-dashboard", "--scheduler-file", file)
        processes.append(start("scheduler", "--host", "127.0.0.1", "--port", "0", *common))
        while not file.exists():
            time.sleep(0.05)
        own = ("--nthreads", "1", "--no-nanny", "--local-directory", tmp_path, *common)
        processes.extend(start("worker", *own) for _ in range(workers))
        return json.loads(file.read_text())["address"]

    yield begin
    for process in reversed(processes):
        process.kill()
        process.wait(WAIT)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_labels_do_not_depend_on_where_and_by_how_many_they_are_made(cluster, tmp_path):
    image = np.random.default_rng(0).normal(80, 12, (600, 900))
    image[:, 450:] += 80
    config = Config(
        fit=FitConfig(round_seconds=0.2, max_rounds=2), predict=PredictConfig(tile_size=256)
    )
    home = Session(config=config)
    picture = NewImage("a", image.clip(0, 255).astype(np.uint8), "yx")
    home.create_project(tmp_path / "p.zarr", [picture])
    home.image.regions[10:30, 10:40] = 1
    home.image.regions[10:30, 800:840] = 2
    home.fine_tune()
    assert home.run_until_idle(WAIT)
    home.predict_all()
    assert home.run_until_idle(WAIT)
    labels = np.asarray(home.image.prediction[...])
    saved = home.save_model(tmp_path / "model")
    home.close()
    for workers in (1, 2):
        with DaskExecutor(cluster(workers)) as executor:
            end = time.monotonic() + WAIT
            while len(executor._workers()) < workers:
                assert time.monotonic() < end
                time.sleep(0.1)
            away = Session(executor=executor, config=config)
            path = tmp_path / f"{workers}.zarr"
            away.create_project(path, [picture])
            away.load_model(saved)
            away.predict_all()
            assert away.run_until_idle(WAIT)
            away.close()
        with Project.open(path) as project:
            assert np.array_equal(np.asarray(project.image("a").prediction[...]), labels)
