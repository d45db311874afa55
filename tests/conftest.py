"""Fixtures shared by all tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import hypothesis
import pytest

# Two cores serve the worker, the viewer and the test at once; more threads than that only wait.
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Threads that spin while they wait make a busy machine several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Real users download weights from a hub; a test that tries would hang or depend on the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# The same examples in every run, so that nobody's commit fails for what another one broke; the slow
# suite looks for new ones with HYPOTHESIS_PROFILE=default.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture
def shared_data() -> Path:
    """Return the folder of development data sets, or skip with the reason."""
    folder = Path(os.environ.get("NAPARI_CAS_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the development data sets are not here; set NAPARI_CAS_DATA to their folder")
    return folder


@pytest.fixture
def run_script(tmp_path):
    """Start Python code in processes of their own, which are gone and reaped at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(code: str, *args: object, **options: object) -> subprocess.Popen[str]:
        script = tmp_path / f"script{len(running)}.py"
        script.write_text(textwrap.dedent(code))
        command = [sys.executable, str(script), *map(str, args)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def start_cluster(tmp_path_factory):
    """Return what starts a scheduler with workers on loopback; all are gone at the end."""
    pytest.importorskip("distributed")
    from training.cluster import ClusterProcesses

    with contextlib.ExitStack() as stack:

        def start(workers=1, options=(), environment=None):
            folder = tmp_path_factory.mktemp("cluster")
            cluster = stack.enter_context(ClusterProcesses(folder, options, environment))
            for _ in range(workers):
                cluster.add_worker()
            return cluster

        yield start
