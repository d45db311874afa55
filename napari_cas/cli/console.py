"""What a command prints: lines, progress bars, and one JSON report when asked for."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from napari_cas.errors import CASError, WorkerError
from napari_cas.session import Message, Progress, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cas.config import Config
    from napari_cas.jobs import Executor
    from napari_cas.protocol import RoundReport, WorkerInfo

_CANCEL_SECONDS = 5.0


class Console:
    """Prints for a person, or reports for a program.

    Parameters
    ----------
    as_json : bool
        Print one JSON object to standard output at the end, and everything else to standard error.
    quiet : bool
        Print results and errors only.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self._json, self._quiet = as_json, quiet
        self.report: dict[str, Any] = {}
        self._bar: tqdm[Any] | None = None
        self._doing = ""
        self._errors: list[CASError] = []
        self._refused: CASError | None = None
        self._raising = False
        self._clicked: float | None = None

    def say(self, text: str = "") -> None:
        """Print a line for the person."""
        if not self._quiet:
            self._print(text)

    def result(self, text: str) -> None:
        """Print a line that is the answer, even when quiet."""
        self._print(text)

    def problem(self, text: str) -> None:
        """Print what went wrong with one thing of many to standard error, even when quiet."""
        self._write(f"napari-cas: {text}", sys.stderr)

    @staticmethod
    def _write(text: str, stream: TextIO | None) -> None:
        if stream is not None:  # a program without a console has none
            tqdm.write(text, file=stream)
            stream.flush()

    def _print(self, text: str) -> None:
        self._write(text, sys.stderr if self._json else sys.stdout)

    def finish(self, code: int = 0) -> None:
        """Print the report, if it was asked for; an exit code other than 0 is in it."""
        if self._json:
            told = self.report | ({"exit_code": code} if code else {})
            print(json.dumps(told, indent=2))

    def close(self) -> None:
        """Leave no bar behind, however the command ended."""
        self._end_bar()

    # -- watching a session ---------------------------------------------------------------------

    @contextmanager
    def session(
        self, config: Config | None = None, executor: Executor | None = None
    ) -> Iterator[Session]:
        """Run a session that tells this console, and end it however the command ends."""
        session = Session(config=config, executor=executor)
        session.messaged.connect(self._on_message)
        session.progressed.connect(self._on_progress)
        session.reported.connect(self._on_report)
        session.device_changed.connect(self._on_worker)
        try:
            yield session
        except KeyboardInterrupt:
            self._end_bar()
            if not session.idle:
                self.say("Stopping after what is under way …")
            session.cancel()
            with suppress(KeyboardInterrupt):
                session.run_until_idle(_CANCEL_SECONDS)
            raise
        finally:
            self._end_bar()
            session.close()
            if executor is not None:
                executor.shutdown()

    def clicked(self) -> None:
        """Begin to measure how long the first prediction takes."""
        self._clicked = time.perf_counter()

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Raise what the session only warns of: nobody is there to paint more and try again.

        Raises
        ------
        CASError
            The session refused to start something.
        """
        self._refused, self._raising = None, True
        try:
            yield
        finally:
            self._raising = False
        if self._refused is not None:
            raise self._refused

    def wait(self, session: Session) -> None:
        """Handle what arrives until the session is idle.

        Raises
        ------
        CASError
            The first error that was reported.
        """
        session.run_until_idle()
        self._end_bar()
        errors, self._errors = self._errors, []
        if errors:
            raise errors[0]

    def _on_worker(self, worker: WorkerInfo) -> None:
        self.report["device"] = worker.device
        self.say(f"The worker is ready on {worker.device} (torch {worker.torch}).")

    def _on_message(self, message: Message) -> None:
        if message.level == "error":
            error = message.error
            known = error if isinstance(error, CASError) else WorkerError(str(message))
            self._errors.append(known)
            return
        if isinstance(message.error, CASError):
            self._refused = message.error
            if self._raising:  # and so it is said at the end, once
                return
        self.say(f"{message.level}: {message}")

    def _on_report(self, report: RoundReport) -> None:
        if not report.losses:
            return
        if self._clicked is not None and report.changed:
            self.report["first"] = round(time.perf_counter() - self._clicked, 3)
            self._clicked = None
        loss, seconds = report.losses[-1], report.seconds.get("total", 0.0)
        self.say(
            f"  step {report.steps:5d}  {seconds:5.2f} s  loss {loss.total:8.4f}  "
            f"uniformer {loss.uniformer:7.4f}  discriminator {loss.discriminator:8.4f}  "
            f"{report.channels_used} channels for {report.regions} regions"
            + ("  converged" if report.converged else "")
        )

    def _on_progress(self, progress: Progress) -> None:
        self.bar(progress.done, progress.total, progress.text)

    def bar(self, done: int, total: int, text: str) -> None:
        """Show how far it is, on a terminal only; the bar goes when all is done."""
        if self._quiet:
            return
        if done >= total:
            self._end_bar()
            return
        if self._bar is None or self._doing != text:
            self._end_bar()
            self._doing = text
            self._bar = tqdm(desc=text, total=total, leave=False, file=sys.stderr, disable=None)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
