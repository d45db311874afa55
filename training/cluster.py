"""A Dask scheduler and workers in processes of their own, started as a person starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from napari_cas.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from napari_cas.jobs.dask import DaskExecutor

START_SECONDS = 120.0


class ClusterProcesses:
    """A scheduler on the loopback interface, and its workers.

    Parameters
    ----------
    folder : Path
        Where the processes keep their files and what they print.
    options : sequence of str
        More options for the scheduler and all workers, such as those of TLS.
    environment : mapping of str to str, optional
        More variables for all processes.

    Attributes
    ----------
    address : str
        Of the scheduler.

    Raises
    ------
    WorkerError
        The scheduler does not start; the error's details hold what it printed.
    """

    def __init__(
        self,
        folder: Path,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._options = folder, (*options, "--no-dashboard")
        # What this process can import its workers can, from a checkout too.
        path = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
        self._environment = {**os.environ, "PYTHONPATH": path, **(environment or {})}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._file = folder / "scheduler.json"
        self.address = ""
        try:
            self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
            self.address = self._wait_for_address()
        except BaseException:
            self.close()
            raise

    def add_worker(self, *options: str) -> None:
        """Start one more worker of a single thread, with these options besides."""
        own = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder))
        self._start("worker", *own, *options)

    def close(self) -> None:
        """End all processes at once."""
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, kind: str, *options: str) -> None:
        common = (*self._options, "--scheduler-file", str(self._file))
        log = self._folder / f"{kind}-{len(self._processes)}.log"
        command = (sys.executable, "-W", "ignore", "-m", f"distributed.cli.dask_{kind}")
        with log.open("wb") as printed:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [*command, *options, *common],
                env=self._environment,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)

    def _wait_for_address(self) -> str:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._processes[0].poll() is None:
            with suppress(OSError, ValueError):  # not there yet, or only half of it
                return str(json.loads(self._file.read_text(encoding="utf-8"))["address"])
            time.sleep(0.05)
        error = WorkerError("The Dask scheduler did not start", todo="See what it printed.")
        error.details = (self._folder / "scheduler-0.log").read_text("utf-8", "replace")
        raise error


def wait_for_workers(executor: DaskExecutor, number: int) -> None:
    """Wait until as many workers have joined as were started.

    Raises
    ------
    WorkerError
        They did not come in time.
    """
    end = time.monotonic() + START_SECONDS
    while (found := len(executor.workers)) < number:
        if time.monotonic() > end:
            raise WorkerError("Workers did not start", expected=str(number), got=str(found))
        time.sleep(0.1)
