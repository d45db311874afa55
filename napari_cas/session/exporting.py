"""Exporting without holding up the annotator."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.session.events import Message, Progress
from napari_cas.store import Project
from napari_cas.store.export import Part, export

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def start(
    project: Project,
    path: str | Path,
    include: Sequence[Part],
    on_progress: Callable[[Progress], None],
    on_message: Callable[[Message], None],
) -> Future[Path]:
    """Export in a thread of its own and return the future of the written path.

    The thread reads through a second, read-only view of the project, so that it shares no cache
    with the one that is painted into. Callbacks are called in the thread.
    """
    future: Future[Path] = Future()
    target, source = Path(path), project.path

    def told(done: int, total: int, *_: object) -> None:
        on_progress(Progress(min(done, max(total - 1, 0)), total, "Exporting"))

    def work() -> None:
        future.set_running_or_notify_cancel()
        try:
            reading = Project.open(source, mode="r")
            try:
                export(reading, target, include=include, progress=told)
            finally:
                reading.close()
        except Exception as error:  # a thread's errors must reach the annotator
            on_message(Message.of(error))
            on_progress(Progress(1, 1, "Exporting"))
            future.set_exception(error)
        else:
            on_message(Message("info", f"Exported to {target}."))
            on_progress(Progress(1, 1, "Exporting"))
            future.set_result(target)

    threading.Thread(target=work, name="export", daemon=True).start()
    return future
