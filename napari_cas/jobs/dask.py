"""Rounds and tiles on the workers of a Dask cluster: the same requests, the same results.

On the machine with the GPU, ``dask scheduler`` and ``dask worker tcp://host:8786 --nthreads 1
--resources GPU=1``; here, ``DaskExecutor("tcp://host:8786", resources={"GPU": 1})``. The project
must be reachable under the same path there. docs/cluster.md says more.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from napari_cas.errors import CASError, ConfigError, WorkerDiedError, WorkerError
from napari_cas.jobs import remote
from napari_cas.protocol import TilesRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from napari_cas.config import ClusterSettings

CONNECT_SECONDS = 10.0


def connect(cluster: ClusterSettings) -> DaskExecutor:
    """Return an executor on the cluster that these settings name.

    Raises
    ------
    ConfigError
        The settings contradict each other, the address is none, or a file they name is not there.
    WorkerError
        The extra ``distributed`` is not installed, or the scheduler cannot be reached.
    """
    resources = {}
    for text in cluster.resources.split():
        name, _, number = text.partition("=")
        try:
            resources[name] = float(number)
        except ValueError:
            raise ConfigError(
                "Unusable resources", expected="NAME=NUMBER, such as GPU=1", got=text
            ) from None
    if not cluster.scheduler:
        raise ConfigError("Which cluster?", expected="the address of a Dask scheduler")
    _check_address(cluster.scheduler)
    return DaskExecutor(cluster.scheduler, resources=resources, security=_security(cluster))


def _check_address(address: str) -> None:
    """Refuse what is no address: a client that was made of it ends with a long wait."""
    _distributed()
    find = importlib.import_module("distributed.comm").get_address_host_port
    try:
        find(address)
    except ValueError as error:
        raise ConfigError(
            "Unusable address of a scheduler",
            expected="one such as tcp://host:8786",
            got=f"{address!r}",
        ) from error


def _security(cluster: ClusterSettings) -> Any:  # noqa: ANN401 - a class of an optional dependency
    """Return the TLS files as distributed takes them; None: those of Dask's own configuration."""
    files = {
        "tls_ca_file": cluster.tls_ca_file,
        "tls_client_cert": cluster.tls_cert,
        "tls_client_key": cluster.tls_key,
    }
    files = {name: path for name, path in files.items() if path}
    if not files:
        return None
    if not cluster.scheduler.startswith("tls://"):
        raise ConfigError(
            "TLS files are for encrypted connections only",
            expected="an address that begins with tls://",
            got=cluster.scheduler,
        )
    for path in files.values():
        if not Path(path).is_file():
            raise ConfigError("A TLS file is missing", expected="a file", got=path)
    return _distributed().Security(require_encryption=True, **files)


def _distributed() -> Any:  # noqa: ANN401 - an optional dependency
    """Return the module ``distributed`` or say how to get it."""
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise WorkerError(
            "Dask's scheduler needs an extra package",
            expected="distributed",
            got=str(error),
            todo='Install it with: pip install "napari-cas[distributed]".',
        ) from error


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Whether to log this: a client that closes logs its cancelled reconnecting as an error."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


class DaskExecutor:
    """An executor whose workers belong to a Dask scheduler.

    Rounds keep to one worker, whose network and features are warm; batches of tiles spread over
    all.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``"tcp://host:8786"``.
    resources : mapping of str to float, optional
        What a worker must offer, such as ``{"GPU": 1}``.
    security : distributed.Security, optional
        TLS certificates, for ``tls://`` addresses.
    timeout : float
        Seconds to wait for the scheduler.

    Raises
    ------
    WorkerError
        The extra ``distributed`` is not installed, or the scheduler cannot be reached.
    """

    def __init__(
        self,
        address: str,
        *,
        resources: Mapping[str, float] | None = None,
        security: Any = None,  # noqa: ANN401 - a class of an optional dependency
        timeout: float = CONNECT_SECONDS,
    ) -> None:
        client = _distributed().Client
        self._address, self._resources = address, dict(resources or {})
        self._home: str | None = None
        try:
            self._client = client(address, timeout=timeout, security=security, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise WorkerError(
                f"The Dask scheduler at {address} cannot be reached",
                got=str(error) or type(error).__name__,
                todo="Check that it runs ('dask scheduler') and that no firewall is in between.",
            ) from error

    @property
    def slots(self) -> int:
        """Number of workers that offer the resources, but at least 1: jobs wait for the first."""
        return max(len(self.workers), 1)

    @property
    def awaited(self) -> tuple[str, ...]:
        """Say that no worker offers what is asked for, where so: jobs would wait in silence."""
        if self.workers:
            return ()
        wanted = " ".join(f"{name}={number:g}" for name, number in self._resources.items())
        offer = f" that offers {wanted}" if wanted else ""
        which = f"at {self._address}{offer} ({len(self._connected)} connected)"
        return (f"Waiting for a Dask worker {which}. Start one, or cancel.",)

    @property
    def _connected(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return found

    @property
    def workers(self) -> list[str]:
        """The addresses of the workers that offer what is asked for, in a fixed order.

        Only those that take jobs: one that has just joined, or is paused since its memory is
        short, does not, and Dask would give its jobs to another.
        """
        return sorted(
            address
            for address, worker in self._connected.items()
            if worker["status"] == "running"
            and all(worker["resources"].get(k, 0) >= v for k, v in self._resources.items())
        )

    def _find_home(self) -> list[str]:
        """Return the worker that rounds keep to, for as long as it takes jobs; [] if none does."""
        workers = self.workers
        if self._home not in workers:
            self._home = workers[0] if workers else None
        return [self._home] if self._home else []

    def submit(self, function: str, *args: Any) -> Future[Any]:  # noqa: ANN401
        """Run ``"module:function"`` with `args` on a worker; see :class:`LocalExecutor`."""
        spread = any(isinstance(arg, TilesRequest) for arg in args)
        home = [] if spread else self._find_home()
        inner: Any = self._client.submit(
            remote.call,
            function,
            args,
            pure=False,
            workers=home or None,
            allow_other_workers=bool(home),
            resources=self._resources or None,
        )
        future: Future[Any] = Future()
        future.add_done_callback(lambda ours: inner.cancel() if ours.cancelled() else None)
        inner.add_done_callback(lambda theirs: self._hand_over(theirs, future))
        return future

    def shutdown(self) -> None:
        """Leave the scheduler; its workers stay, for others."""
        logger = logging.getLogger("distributed.client")
        logger.addFilter(_is_no_cancellation)
        try:
            self._client.close(timeout=2)
        finally:
            logger.removeFilter(_is_no_cancellation)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()

    def _hand_over(self, theirs: Any, ours: Future[Any]) -> None:  # noqa: ANN401
        """Copy Dask's outcome into the caller's future, in our words."""
        if ours.cancelled() or not ours.set_running_or_notify_cancel():
            return
        try:
            error = (
                self._lost("was cancelled or the connection lost")
                if theirs.status == "cancelled"
                else theirs.exception()
            )
            result = remote.unpack(theirs.result()) if error is None else None
        except Exception as failure:
            error, result = failure, None
        if error is None:
            ours.set_result(result)
        else:
            ours.set_exception(self._in_our_words(error))

    def _in_our_words(self, error: BaseException) -> CASError:
        if isinstance(error, CASError):
            return error
        if isinstance(error, _distributed().KilledWorker):
            return WorkerDiedError(
                "Workers of the Dask cluster died under the job",
                got=str(error),
                todo="Look into the workers' logs; memory may be short there.",
            )
        lost = self._lost(f"ended with {type(error).__name__}")
        lost.details = str(error)
        return lost

    def _lost(self, what: str) -> WorkerError:
        return WorkerError(
            f"The job at the Dask scheduler {self._address} {what}",
            todo="Check that the scheduler runs and that napari-cas is installed on its workers.",
        )
