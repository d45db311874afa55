import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from napari_cas.config import ClusterSettings, Config, PredictConfig
from napari_cas.errors import ConfigError, StorageError, WorkerError
from napari_cas.jobs import Outcome, PlaneWork, RoundChain, TileQueue
from napari_cas.jobs.dask import DaskExecutor, connect
from napari_cas.protocol import RoundRequest, TilesRequest
from napari_cas.session.dispatch import DispatchQueue
from training.cluster import ClusterProcesses, wait_for_workers

pytest.importorskip("distributed")
WAIT = 60
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler with two workers, one of which offers a GPU."""
    # Workers find `work_functions` beside this file.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        processes = ClusterProcesses(tmp_path_factory.mktemp("dask"))
    with processes:
        processes.add_worker("--resources", "GPU=1")
        processes.add_worker()
        yield processes


@pytest.fixture
def dask(cluster):
    with DaskExecutor(cluster.address) as executor:
        wait_for_workers(executor, 2)
        yield executor


def test_runs_elsewhere_and_keeps_to_one_worker(dask):
    pids = {dask.submit("os:getpid").result(WAIT) for _ in range(6)}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_rounds_stay_where_they_are_warm_when_more_workers_join(start_cluster):
    cluster = start_cluster(1)
    with DaskExecutor(cluster.address) as executor:
        wait_for_workers(executor, 1)
        (home,) = executor.workers
        pid = executor.submit("os:getpid").result(WAIT)
        # One whose address comes first, in the order that the first home is chosen by.
        cluster.add_worker("--worker-port", "10000:19999")
        wait_for_workers(executor, 2)
        assert executor.workers[0] != home
        assert executor.submit("os:getpid").result(WAIT) == pid


def test_a_worker_that_takes_no_jobs_is_no_worker(dask, monkeypatch):
    found = dask._client.scheduler_info(n_workers=-1)
    first = min(found["workers"])
    found["workers"][first]["status"] = "init"  # as it is while it joins
    monkeypatch.setattr(dask._client, "scheduler_info", lambda **_: found)
    assert first not in dask.workers
    assert dask.slots == 1


def test_errors_travel_as_they_do_from_the_local_worker(dask):
    with pytest.raises(StorageError, match="disk is full"):
        dask.submit("work_functions:refuse").result(WAIT)
    with pytest.raises(WorkerError, match="ZeroDivisionError") as caught:
        dask.submit("work_functions:divide", 1, 0).result(WAIT)
    assert "in divide" in caught.value.details


def test_what_jobs_wait_for_is_said(cluster, dask):
    assert dask.awaited == ()
    with DaskExecutor(cluster.address, resources={"TPU": 2}) as tpu:
        (said,) = tpu.awaited
    assert "offers TPU=2 (2 connected)" in said


def test_only_workers_with_the_resource_are_used(cluster, dask):
    with DaskExecutor(cluster.address, resources={"GPU": 1}) as gpu:
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


class Tiles:
    """A queue of tiles, started, and what it tells."""

    def __init__(self, executor, project, size):
        self.reports, self.ends, self.queue = [], [], DispatchQueue()
        config = Config(predict=PredictConfig(tile_size=256))
        TileQueue(
            executor,
            TilesRequest(str(project), config, "model", ()),
            [PlaneWork("a", (), size)],
            dispatch=self.queue,
            on_report=self.reports.append,
            on_progress=lambda *_: None,
            on_warning=lambda _: None,
            on_finished=lambda *end: self.ends.append(end),
            function="work_functions:tiles_noted",
        ).start()

    def assert_done(self, count):
        """Wait for the end; each tile was done, and by one worker only."""
        assert self.queue.run_until(lambda: bool(self.ends), WAIT)
        assert self.ends == [(Outcome.DONE, None)]
        done = [tile for report in self.reports for tile in report.done]
        assert len(done) == len(set(done)) == count


def test_tiles_spread_over_the_workers(dask, tmp_path):
    tiles = Tiles(dask, tmp_path, (2048, 1024))
    tiles.assert_done(32)
    assert len({report.device for report in tiles.reports}) == 2  # each names its process


@pytest.mark.slow
def test_what_a_killed_worker_had_under_way_another_does(start_cluster, findable, tmp_path):
    cluster = start_cluster(2)
    with DaskExecutor(cluster.address) as executor:
        wait_for_workers(executor, 2)
        tiles = Tiles(executor, tmp_path, (4096, 4096))
        tiles.queue.run_until(lambda: len(tiles.reports) > 2, WAIT)
        os.kill(int(tiles.reports[-1].device.split()[1]), signal.SIGKILL)
        tiles.assert_done(256)
        assert len(executor.workers) == 1


def test_tls_files_are_passed_through(start_cluster, tmp_path):
    """The scheduler takes no one without a certificate of its authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    names = {"tls_ca_file": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"}
    files = {option: str(tmp_path / name) for option, name in names.items()}
    words = [w for k, v in files.items() for w in ("--" + k.replace("_", "-"), v)]
    cluster = start_cluster(1, ["--protocol", "tls", *words])
    assert cluster.address.startswith("tls://")
    with connect(ClusterSettings(scheduler=cluster.address, **files)) as executor:
        wait_for_workers(executor, 1)
        assert executor.submit("os:getpid").result(WAIT) != os.getpid()
    with pytest.raises(WorkerError, match="cannot be reached"):
        DaskExecutor(cluster.address, timeout=2)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({}, "Which cluster"),
        ({"scheduler": "gpu-server"}, "tcp://host:8786, got 'gpu-server'"),
        ({"scheduler": "http://gpu-server:8786"}, "Unusable address"),
        ({"scheduler": "tcp://127.0.0.1:9", "resources": "GPU"}, "NAME=NUMBER"),
        ({"scheduler": "tcp://127.0.0.1:9", "tls_key": __file__}, "begins with tls://"),
        ({"scheduler": "tls://127.0.0.1:9", "tls_key": "nowhere.pem"}, "nowhere.pem"),
    ],
)
def test_settings_that_contradict_are_refused_before_connecting(settings, match):
    with pytest.raises(ConfigError, match=match):
        connect(ClusterSettings(**settings))


def test_a_scheduler_that_died_is_named_and_leaves_no_traceback_in_the_log(start_cluster, caplog):
    cluster = start_cluster(1)
    logger = logging.getLogger("distributed.client")
    logger.addHandler(caplog.handler)  # Dask's loggers do not propagate
    try:
        with DaskExecutor(cluster.address) as executor:
            wait_for_workers(executor, 1)
            future = executor.submit("time:sleep", WAIT)
            cluster.close()
            with pytest.raises(WorkerError, match=f"{cluster.address} was cancelled or the conn"):
                future.result(WAIT)
    finally:
        logger.removeHandler(caplog.handler)
    # Where the cluster takes its time to close, Dask may say that it could not reconnect.
    shown = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [record for record in shown if record.exc_info]


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
