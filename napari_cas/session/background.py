"""A session whose slow steps run in threads, for owners that must never wait: a user interface."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from napari_cas.jobs.dask import connect
from napari_cas.session import objects, projects
from napari_cas.session.events import Message, Progress
from napari_cas.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_cas.config import ClusterSettings
    from napari_cas.jobs import Executor
    from napari_cas.session.dispatch import Dispatch
    from napari_cas.session.events import NewImage
    from napari_cas.store import Project

T = TypeVar("T")


def start(
    work: Callable[[], T],
    dispatch: Dispatch,
    *,
    done: Callable[[T], None],
    failed: Callable[[BaseException], None],
) -> Future[T]:
    """Run `work` in a thread, then `done` or `failed` in the owner's thread.

    Parameters
    ----------
    work : callable
        Runs in the thread; must not touch the session.
    dispatch : Dispatch
        Way back into the owner's thread.
    done, failed : callable
        Called in the owner's thread with the result or the error.

    Returns
    -------
    Future
        Set in the owner's thread, after `done` or `failed` has been called.
    """
    future: Future[T] = Future()

    def finish(result: T) -> None:
        try:
            done(result)
        except BaseException as error:
            future.set_exception(error)
            raise
        future.set_result(result)

    def fail(error: BaseException) -> None:
        try:
            failed(error)
        finally:  # or whoever waits would wait for ever
            future.set_exception(error)

    def run() -> None:
        try:
            result = work()
        except Exception as error:
            caught = error
            dispatch(lambda: fail(caught))
        else:
            dispatch(lambda: finish(result))

    threading.Thread(target=run, name="napari-cas", daemon=True).start()
    return future


class BackgroundSession(Session):
    """A session that also copies images and splits objects without holding up its owner.

    Errors of the threads come as messages, like those of the worker.
    """

    _closings = 0
    """How often the session was closed: what a thread brings after that is not wanted any more."""
    _made: tuple[Project, ...] = ()
    """Projects that threads have made, on their way here."""

    def close(self) -> None:
        """Save and close the project and end the worker process, as `Session.close` does."""
        self._closings += 1
        for project in self._made:  # or nobody could paint in it before this process ends
            project.close()
        super().close()

    def create_project_later(
        self,
        path: str | Path,
        images: Sequence[NewImage] = (),
        *,
        before: Callable[[tuple[str, ...]], None] | None = None,
    ) -> Future[Project]:
        """Make a project like `create_project`, its images copied in a thread.

        Parameters
        ----------
        path : str or Path
            Where; must not exist.
        images : sequence of NewImage
            What goes into it.
        before : callable, optional
            Called with the images' names in the owner's thread, just before the project is opened.
        """
        said: list[projects.Said] = []
        closings = self._closings

        def make() -> Project:
            project = projects.create(path, images, said.append, self._progress_later)
            self._made = (*self._made, project)
            if closings != self._closings:  # while it was made
                project.close()
            return project

        def adopt(project: Project) -> None:
            self._made = tuple(other for other in self._made if other is not project)
            if closings != self._closings:
                return
            with projects.giving_up(project):
                if before is not None:
                    before(project.images)
            self._adopt(project, said)

        return self._start(make, done=adopt)

    def add_images_later(
        self,
        images: Sequence[NewImage],
        *,
        before: Callable[[tuple[str, ...]], None] | None = None,
    ) -> Future[tuple[str, ...]]:
        """Take more images into the project, copied in a thread; go to the first when done."""
        project = self._opened(writing=True)

        def added(names: tuple[str, ...]) -> None:
            if self.project is not project:
                return
            if before is not None:
                before(names)
            self.images_changed.emit(self.images)
            if names:
                self.select_image(names[0])

        return self._start(
            lambda: projects.add_images(project, images, self._warn_later, self._progress_later),
            done=added,
            of=project,
        )

    def split_into_objects_later(
        self, min_size: int = 20, label: int | None = None
    ) -> Future[objects.Objects]:
        """Split the prediction like `split_into_objects`, in a thread."""
        entry, _ = self._looking()

        def tell(done: int, total: int) -> None:
            self._progress_later(Progress(min(done, total - 1), total, "Splitting"))

        def work() -> objects.Objects:
            try:
                return objects.split(entry, min_size, label, progress=tell)
            finally:
                self._progress_later(Progress(1, 1, "Splitting"))

        return self._start(work, done=lambda _: None)

    def run_on_later(self, cluster: ClusterSettings) -> Future[Executor | None]:
        """Go on with the workers of a cluster, reached in a thread; without one, with our own.

        What is under way is dropped as soon as the cluster has answered; until then, and when it
        does not, the present workers stay.
        """

        def reach() -> Executor | None:
            return connect(cluster) if cluster.scheduler else None

        return self._start(reach, done=self._work.run_on)

    def _start(
        self, work: Callable[[], T], *, done: Callable[[T], None], of: Project | None = None
    ) -> Future[T]:
        images = None if of is None else of.images

        def failed(error: BaseException) -> None:
            if of is None or self.project is of:  # else it has failed because that was closed
                if of is not None and of.images != images:  # those before the one that failed
                    self.images_changed.emit(self.images)
                self._warn(Message.of(error))

        return start(work, self.dispatch, done=done, failed=failed)
