import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_cas.config import Config, PredictConfig
from napari_cas.errors import StorageError, WorkerError
from napari_cas.jobs import Outcome, PlaneWork, RoundChain, TileQueue
from napari_cas.jobs.dask import DaskExecutor
from napari_cas.protocol import RoundRequest, TilesRequest
from napari_cas.session.dispatch import DispatchQueue

pytest.importorskip("distributed")
WAIT = 60
HERE = Path(__file__).parent


def start(kind, *options):
    """Start a scheduler or worker the way a person does, in a process of its own."""
    path = os.pathsep.join([str(HERE), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "1h"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", f"distributed.cli.dask_{kind}", *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Return the address of a scheduler with two workers, one of which offers a GPU."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    quiet = ("--no-dashboard", "--scheduler-file", str(file))
    processes = [start("scheduler", "--host", "127.0.0.1", "--port", "0", *quiet)]
    options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder), *quiet)
    end = time.monotonic() + WAIT
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    processes.append(start("worker", *options, "--resources", "GPU=1", "--name", "gpu"))
    processes.append(start("worker", *options, "--name", "cpu"))
    import json

    yield json.loads(file.read_text())["address"]
    for process in reversed(processes):
        process.kill()
        process.wait(WAIT)


@pytest.fixture
def dask(scheduler):
    with DaskExecutor(scheduler) as executor:
        end = time.monotonic() + WAIT
        while executor.slots < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        yield executor


def test_runs_elsewhere_and_keeps_to_one_worker(dask):
    pids = {dask.submit("os:getpid").result(WAIT) for _ in range(6)}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_errors_travel_as_they_do_from_the_local_worker(dask):
    with pytest.raises(StorageError, match="disk is full"):
        dask.submit("work_functions:refuse").result(WAIT)
    with pytest.raises(WorkerError, match="ZeroDivisionError") as caught:
        dask.submit("work_functions:divide", 1, 0).result(WAIT)
    assert "in divide" in caught.value.details


def test_only_workers_with_the_resource_are_used(scheduler, dask):
    with DaskExecutor(scheduler, resources={"GPU": 1}) as gpu:
        assert gpu.slots == 1
        assert dask.slots == 2
        assert gpu.submit("os:getpid").result(WAIT)


def test_a_chain_of_rounds(dask, tmp_path):
    reports, ends, queue = [], [], DispatchQueue()
    chain = RoundChain(
        dask,
        lambda number, checkpoint: RoundRequest(
            str(tmp_path), Config(), checkpoint=checkpoint, round=number
        ),
        max_rounds=3,
        dispatch=queue,
        on_report=reports.append,
        on_warning=lambda _: None,
        on_finished=lambda *end: ends.append(end),
        function="work_functions:round_quick",
    )
    chain.start()
    assert queue.run_until(lambda: bool(ends), WAIT)
    assert ends == [(Outcome.LIMIT, None)]
    assert [r.checkpoint for r in reports] == ["round-0", "round-1", "round-2"]


def test_tiles_spread_over_the_workers(dask, tmp_path):
    reports, ends, queue = [], [], DispatchQueue()
    config = Config(predict=PredictConfig(tile_size=256))
    tiles = TileQueue(
        dask,
        TilesRequest(str(tmp_path), config, "model", ()),
        [PlaneWork("a", (), (2048, 1024))],
        dispatch=queue,
        on_report=reports.append,
        on_progress=lambda *_: None,
        on_warning=lambda _: None,
        on_finished=lambda *end: ends.append(end),
        function="work_functions:tiles_noted",
    )
    tiles.start()
    assert queue.run_until(lambda: bool(ends), WAIT)
    assert ends == [(Outcome.DONE, None)]
    done = [tile for report in reports for tile in report.done]
    assert len(done) == len(set(done)) == 32
    assert len({report.device for report in reports}) == 2  # each names its process


def test_an_address_without_a_scheduler_says_what_to_check():
    with pytest.raises(WorkerError, match="cannot be reached") as caught:
        DaskExecutor("tcp://127.0.0.1:9", timeout=1)
    assert "dask scheduler" in caught.value.todo


def test_without_the_extra_it_says_how_to_install_it():
    code = (
        "import sys; sys.modules['distributed'] = None\n"
        "from napari_cas.jobs.dask import DaskExecutor\n"
        "from napari_cas.errors import WorkerError\n"
        "try: DaskExecutor('tcp://127.0.0.1:9')\n"
        "except WorkerError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "napari-cas[distributed]"' in out.stdout
