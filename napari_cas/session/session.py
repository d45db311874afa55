"""The session: everything the annotator can do, as methods; everything that happens, as signals.

All methods are called in one thread, the owner's (the user interface's, or a script's main thread),
and all signals are emitted there. What finishes in the worker reaches the owner only through
``dispatch``.
"""

from __future__ import annotations

from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.errors import ProjectError, RegionError, StorageError
from napari_cas.protocol import Box, Tile
from napari_cas.session import exporting, models, objects, painted, projects
from napari_cas.session.annotating import AnnotatingSession
from napari_cas.session.doubtful import Doubtful
from napari_cas.session.events import Message
from napari_cas.session.saving import Saver
from napari_cas.session.timers import Timers
from napari_cas.session.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cas.config import Config
    from napari_cas.jobs import Executor
    from napari_cas.protocol import Plane
    from napari_cas.session.dispatch import Dispatch
    from napari_cas.session.events import NewImage
    from napari_cas.store import Project
    from napari_cas.store.export import Part

VIEW_LIMIT = 1024
"""Longest side in pixels of the view that each round predicts; a larger view is cut around its
centre (the rest follows tile by tile), so that a round takes about the same time at any zoom."""


class Session(AnnotatingSession):
    """One annotator, one project, one worker.

    Parameters
    ----------
    executor : Executor, optional
        Where rounds run; by default a worker process of this machine, started when first needed
        and ended by :meth:`close`. An executor given here stays the caller's to shut down.
    config : Config, optional
        Settings to begin with; an opened project brings its own.
    dispatch : callable, optional
        Runs a function without arguments in the owner's thread, soon and in order; may be called
        from any thread. By default functions queue up until :meth:`run_until_idle` is called.
    """

    def __init__(
        self,
        *,
        executor: Executor | None = None,
        config: Config | None = None,
        dispatch: Dispatch | None = None,
    ) -> None:
        super().__init__(config=config, dispatch=dispatch)
        timers = Timers(self.dispatch)
        self._saver = Saver(
            lambda: self._project if self.writable else None, timers, self.messaged.emit
        )
        self._work = Work(self, executor, timers, self._remember)
        self._doubtful = Doubtful()
        self._exports: set[Future[Path]] = set()

    # -- settings -------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """All settings; assigning takes effect with the next round."""
        return self._config

    @config.setter
    def config(self, config: Config) -> None:
        if config == self._config:
            return
        before, self._config = self._config, config
        self.config_changed.emit(config)
        self._remember()
        if config.model != before.model and self.checkpoint is not None:
            # Another network or channel count cannot go on from this checkpoint.
            self.reset_model()
        if self.worker is not None and (config.device, config.model) != (
            before.device,
            before.model,
        ):
            self.warm_up()

    # -- projects and images --------------------------------------------------------------------

    def create_project(self, path: str | Path, images: Sequence[NewImage] = ()) -> None:
        """Make a project at `path` with these images, and open it.

        Raises
        ------
        ProjectError
            `path` exists and is not empty, or cannot be written.
        ImageError
            An image has the wrong axes, no pixels or no finite values.
        """
        said: list[projects.Said] = []
        project = projects.create(path, images, said.append, self.progressed.emit)
        self._adopt(project, said)

    def open_project(self, path: str | Path) -> None:
        """Open a project and everything in it: images, strokes, settings, model and predictions.

        A project that another process is writing to opens read-only, with a message. The one that
        is open for writing already stays as it is.

        Raises
        ------
        ProjectError
            There is no project at `path`, or a damaged or newer one.
        """
        if self.writable and self._opened().path.resolve() == Path(path).resolve():
            self._warn(Message("info", "This project is open already."))
            return
        said: list[projects.Said] = []
        self._adopt(projects.open_for_session(path, said.append), said)

    def add_images(self, images: Sequence[NewImage]) -> tuple[str, ...]:
        """Take more images into the project and return their names there.

        Raises
        ------
        ImageError
            An image has the wrong axes, no pixels or no finite values.
        ProjectError
            No project is open, or it is read-only.
        """
        project = self._opened(writing=True)
        with self._telling_images(project):
            names = projects.add_images(project, images, self._warn, self.progressed.emit)
        if self._image is None and names:
            self.select_image(names[0])
        return names

    def select_image(self, name: str) -> None:
        """Go to another image of the project; what was learnt so far applies to it.

        Raises
        ------
        ProjectError
            The project has no image of that name.
        """
        project = self._opened()
        if name not in project.images:
            raise ProjectError("No such image", expected=", ".join(project.images), got=name)
        self.flush()
        self._image = project.image(name)
        self._view = self._seen = projects.first_view(self._image, VIEW_LIMIT)
        self._remember()
        self.image_changed.emit(self._image)

    def remove_image(self, name: str) -> None:
        """Remove an image from the project, with its strokes and its prediction; another is shown.

        Raises
        ------
        ProjectError
            No project is open, it is read-only, has no such image, or no other.
        StorageError
            The file system refuses.
        """
        project = self._opened(writing=True)
        others = [other for other in project.images if other != name]
        if name in project.images and not others:
            raise ProjectError(
                "The only image of a project stays in it", todo="Close the project instead."
            )
        self._work.stop_all()
        if self._image is not None and self._image.name == name:
            index = min(project.images.index(name), len(others) - 1)
            self.select_image(others[index])
        with self._telling_images(project):
            project.remove_image(name)

    def close_project(self) -> None:
        """Save and close the project; the worker stays warm for the next one.

        Raises
        ------
        StorageError
            Strokes cannot be saved; the project stays open, so that nothing is lost.
        """
        if self._project is None:
            return
        self._work.stop_all()
        self.closing.emit()
        try:
            self._project.close()
        except StorageError as error:
            self._warn(Message.of(error))
            raise
        self._project = self._image = self._view = self._seen = None
        self._saver.forget()
        self._work.forget()
        self._work.update_state()
        self.image_changed.emit(None)
        self.images_changed.emit(())
        self.checkpoint_changed.emit(None)
        self.project_changed.emit(None)

    def close(self) -> None:
        """Save and close the project and end the worker process. The session can be used again.

        Raises
        ------
        StorageError
            Strokes cannot be saved; the worker has ended, the project stays open.
        """
        self._work.close()
        self.close_project()

    # -- looking --------------------------------------------------------------------------------

    def set_view(self, plane: Plane, box: Box) -> None:
        """Take note of what is looked at: indices along the leading axes, and a pixel box there."""
        if self._image is None:
            return
        height, width = self._image.plane_size
        seen = Box(*box).clip(height, width)
        if 0 in seen.shape:
            return
        self._seen = Tile(self._image.name, tuple(plane), seen)
        self._view = self._seen._replace(box=projects.limit(seen, VIEW_LIMIT))
        self._work.view_changed()

    # -- learning and predicting ----------------------------------------------------------------

    def warm_up(self) -> None:
        """Start the worker and load the network, so that the first click is answered at once."""
        self._work.warm_up()

    def fine_tune(self, max_rounds: int | None = None) -> None:
        """Train on all painted regions in rounds, predicting the view after each.

        While rounds already run, one more chain follows them. Without anything to learn from, or
        with strokes that cannot be saved, a message says what to do and nothing starts.

        Parameters
        ----------
        max_rounds : int, optional
            At most so many, instead of what the settings say.
        """
        try:
            painted.check(self._opened(writing=True), learnt=self.checkpoint is not None)
        except (RegionError, ProjectError) as error:
            self._warn(error)
            return
        if not self.flush():  # the worker learns from what is on disk
            return
        if self.checkpoint is None and self.names:
            self._rename({})  # of a model that is gone, as where its folder was deleted
        self._work.train(max_rounds)

    def cancel(self) -> None:
        """Stop training or predicting: the running round or batch finishes, none follows."""
        self._work.cancel()

    def predict_view(self) -> None:
        """Predict what the annotator looks at with the present model, without training."""
        if self._learnt():
            self._work.predict_view()

    def predict_all(self, images: Sequence[str] | None = None) -> None:
        """Predict every plane of all images, or of these, nearest to the view first.

        Tiles already predicted with this model are not done again, not even after a restart.

        Raises
        ------
        ProjectError
            An image is not in the project.
        """
        unknown = sorted({*(images or ())} - {*self.images})
        if unknown:
            raise ProjectError(
                "No such image", expected=", ".join(self.images), got=", ".join(unknown)
            )
        if self._learnt():
            self._work.predict_all(tuple(images) if images is not None else None)

    def reset_model(self) -> None:
        """Forget what was learnt, names too; strokes stay, corrections stay as strokes."""
        self._work.stop_all()
        if self.writable:
            self._drop_corrections()
            self._rename({})  # the next model's kinds are others
        self._work.forget()
        self._work.use(None)

    def save_model(self, path: str | Path) -> Path:
        """Write the present model and its names to a directory, and return its path.

        Raises
        ------
        CheckpointError
            Nothing has been learnt yet.
        StorageError
            `path` cannot be written.
        """
        if self.checkpoint is None:
            raise models.nothing_learnt()
        return models.save(self._opened(), self.checkpoint, path)

    def load_model(self, path: str | Path) -> None:
        """Go on from a saved model, with its settings and the names that were given to its kinds.

        Corrections of what another model predicted stay as strokes only: its labels are others.

        Raises
        ------
        CheckpointError
            `path` holds no model, a damaged or foreign one, or one for other images.
        """
        loaded = models.load(self._opened(writing=True), path)
        self._work.stop_all()
        self._rename(loaded.names)  # first: a disk that refuses leaves network and model a pair
        if loaded.name != self.checkpoint and self.remembers:
            self._drop_corrections()
        self._config = self._config.model_copy(update={"model": loaded.spec})
        self.config_changed.emit(self._config)
        self._work.use(loaded.name)

    # -- results --------------------------------------------------------------------------------

    def split_into_objects(self, min_size: int = 20, label: int | None = None) -> objects.Objects:
        """Return the prediction of the selected image split into connected objects.

        Parameters
        ----------
        min_size : int
            Objects of fewer pixels are dropped.
        label : int, optional
            Split this label only; by default all labels.

        Returns
        -------
        Objects
            Labels in the shape of the prediction, 0 = none, and how many: over all labels; 3-D
            along z, separate in time.
        """
        return objects.split(self._looking()[0], min_size, label)

    def export(
        self, path: str | Path, include: Sequence[Part] = ("images", "regions", "prediction")
    ) -> Future[Path]:
        """Write the project as an OME-Zarr 0.5 data set in a background thread, strokes first.

        Returns
        -------
        Future of Path
            Done when written; progress and errors also come as signals.
        """
        project, saved = self._opened(), self.flush()
        told = exporting.Told(self._progress_later, self._warn_later)
        future = exporting.start(project, path, tuple(include), told, complete=saved)
        self._exports.add(future)
        future.add_done_callback(self._exports.discard)
        return future

    def wait_for_exports(self) -> None:
        """Wait until what is being exported is written: it ends half-way with the process."""
        wait(tuple(self._exports))

    # -- inside ---------------------------------------------------------------------------------

    def _adopt(self, project: Project, said: list[projects.Said]) -> None:
        """Make `project` the open one, restore its state, and pass on what was said of it.

        Not before: whoever listens forgets what was said of the project before.
        """
        with projects.giving_up(project):
            self.close_project()
        self._project = project
        state = projects.restore(project, said.append)
        if state.config is not None and state.config != self._config:
            self._config = state.config
            self.config_changed.emit(self._config)
        if state.live is not None and state.live != self._live:
            self._live = state.live  # no more: opening a project trains nothing
            self.live_changed.emit(state.live)
        self._work.checkpoint = state.checkpoint
        self._work.update_state()
        self.project_changed.emit(project)
        self.images_changed.emit(self.images)
        self.names_changed.emit(self.names)
        self.checkpoint_changed.emit(self.checkpoint)
        if state.image is not None:
            self.select_image(state.image)
        for message in said:
            self._warn(message)
