"""Exporting without holding up the annotator."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.session.events import Message, Progress
from napari_cas.store import Project
from napari_cas.store.export import Part, export

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears of an export; called in its thread."""

    progress: Callable[[Progress], None]
    message: Callable[[Message], None]


def start(
    project: Project,
    path: str | Path,
    include: Sequence[Part],
    told: Told,
    *,
    complete: bool = True,
) -> Future[Path]:
    """Export in a thread of its own and return the future of the written path.

    The thread reads through a second, read-only view of the project, so that it shares no cache
    with the one that is painted into: what is to be exported must be on disk.

    Parameters
    ----------
    project : Project
        What is exported.
    path : str or Path
        Where; must not exist.
    include : sequence of Part
        What of it.
    told : Told
        Who hears of progress, errors and the end.
    complete : bool
        Whether all strokes are on disk. If not, they are missing in the export (which may go to
        another disk, one with room), and the message at its end says so.
    """
    future: Future[Path] = Future()
    target, source = Path(path), project.path

    def step(done: int, total: int, *_: object) -> None:
        told.progress(Progress(min(done, max(total - 1, 0)), total, "Exporting"))

    def work() -> None:
        future.set_running_or_notify_cancel()
        try:
            reading = Project.open(source, mode="r")
            try:
                export(reading, target, include=include, progress=step)
            finally:
                reading.close()
        except Exception as error:  # a thread's errors must reach the annotator
            told.message(Message.of(error))
            told.progress(Progress(1, 1, "Exporting"))
            future.set_exception(error)
        else:
            told.message(_ended(target, complete=complete))
            told.progress(Progress(1, 1, "Exporting"))
            future.set_result(target)

    threading.Thread(target=work, name="export", daemon=True).start()
    return future


def _ended(target: Path, *, complete: bool) -> Message:
    if complete:
        return Message("info", f"Exported to {target}.")
    return Message(
        "warning",
        f"Exported to {target}, but without the last strokes: the project could not be saved.",
        "Make room on the project's disk, then export again.",
    )
