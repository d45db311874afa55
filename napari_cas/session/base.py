"""What every session is: its signals, what can be read of it, and how its events are handled."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psygnal

from napari_cas.config import Config
from napari_cas.errors import CASError, ConfigError, ProjectError
from napari_cas.protocol import RoundReport, Tile, TilesReport, WorkerInfo
from napari_cas.session import models, painted, projects
from napari_cas.session.dispatch import Dispatch, DispatchQueue
from napari_cas.session.events import Message, Progress, State
from napari_cas.store.progress import Stage, stage_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cas.session.work import Work
    from napari_cas.store import ImageEntry, Project


class SessionBase:
    """Signals and read-only state of a session; what can be done is in `Session`.

    Parameters
    ----------
    config, dispatch
        See `Session`.
    """

    _work: Work

    project_changed = psygnal.Signal(object)
    """The open project (`Project`) or None."""
    images_changed = psygnal.Signal(tuple)
    """Names of the project's images."""
    image_changed = psygnal.Signal(object)
    """The selected image (`ImageEntry`) or None."""
    state_changed = psygnal.Signal(State)
    reported = psygnal.Signal(RoundReport)
    """A round has finished; `prediction_changed` has been emitted for each of its boxes."""
    tiled = psygnal.Signal(TilesReport)
    """A batch of tiles is predicted; `prediction_changed` has been emitted for each of them."""
    prediction_changed = psygnal.Signal(Tile)
    """Pixels of the prediction on disk changed; cached copies have been forgotten already."""
    predicted_all = psygnal.Signal(bool)
    """What `predict_all` was asked for is done (True), or was stopped before (False)."""
    progressed = psygnal.Signal(Progress)
    messaged = psygnal.Signal(Message)
    device_changed = psygnal.Signal(WorkerInfo)
    config_changed = psygnal.Signal(Config)
    live_changed = psygnal.Signal(bool)
    checkpoint_changed = psygnal.Signal(object)
    """Name of the model in use (str) or None: nothing learnt yet."""
    names_changed = psygnal.Signal(dict)
    """Names of the kinds that were found, by label; the prediction may look otherwise now."""
    closing = psygnal.Signal()
    """The project is about to be closed, and is still open."""
    regions_changed = psygnal.Signal()
    """Painted regions changed through the session (not by the brush): redraw them."""

    probabilities: bool = False
    """Whether rounds and tiles write the channel probabilities too, from the next one on."""

    remembers: bool = True
    """Whether the project is told of model, names and settings as they change. Off, all are for
    now."""

    def __init__(
        self,
        *,
        config: Config | None = None,
        dispatch: Dispatch | None = None,
    ) -> None:
        self._queue = DispatchQueue() if dispatch is None else None
        self.dispatch: Dispatch = dispatch or self._queue or DispatchQueue()
        self._config = config or Config()
        self._project: Project | None = None
        self._image: ImageEntry | None = None
        self._view: Tile | None = None
        self._seen: Tile | None = None
        self._live = False

    # -- what is --------------------------------------------------------------------------------

    @property
    def project(self) -> Project | None:
        """The open project."""
        return self._project

    @property
    def image(self) -> ImageEntry | None:
        """The selected image."""
        return self._image

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the project's images."""
        return () if self._project is None else self._project.images

    def stage(self, name: str) -> Stage:
        """Return whether one of the project's images is painted and predicted, at least in part."""
        return stage_of(self._opened().path / "images" / name)

    @property
    def writable(self) -> bool:
        """Whether strokes can be saved: a project is open and not read-only."""
        return self._project is not None and self._project.mode != "r"

    @property
    def state(self) -> State:
        """What the session is doing now."""
        return self._work.state

    @property
    def predicting_all(self) -> bool:
        """Whether what is predicted, or will be after training, is all that `predict_all` means."""
        return self._work.all_due

    @property
    def view(self) -> Tile | None:
        """What the annotator looks at, as far as each round predicts it."""
        return self._view

    @property
    def seen(self) -> Tile | None:
        """All that the annotator looks at, however large."""
        return self._seen

    @property
    def reports(self) -> tuple[RoundReport, ...]:
        """Reports of the rounds since the project was opened or the model reset, oldest first."""
        return tuple(self._work.reports)

    @property
    def checkpoint(self) -> str | None:
        """Name of the model that predicts, within the project; None: nothing learnt yet."""
        return self._work.checkpoint

    @property
    def worker(self) -> WorkerInfo | None:
        """What the worker said of itself when it was last warmed up."""
        return self._work.worker

    @property
    def live(self) -> bool:
        """Whether every finished stroke trains by itself."""
        return self._live

    @live.setter
    def live(self, live: bool) -> None:
        if live == self._live:
            return
        self._live = live
        self.live_changed.emit(live)
        self._remember()
        learnt = self.checkpoint is not None
        if live and self.image is not None and painted.trainable(self._opened(), learnt=learnt):
            self._work.train_soon()

    # -- waiting (scripts and tests) ------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, warming up included."""
        return self._work.idle

    def run_until_idle(self, timeout: float | None = None) -> bool:
        """Handle what arrives from the worker, here, until nothing is under way.

        Returns
        -------
        bool
            False when `timeout` seconds passed first.

        Raises
        ------
        ConfigError
            The session was given a `dispatch` of its own, which does this.
        """
        if self._queue is None:
            raise ConfigError("This session's events are handled by the dispatch it was given")
        return self._queue.run_until(lambda: self.idle, timeout)

    # -- parts shared with the session's helpers ------------------------------------------------

    def _opened(self, *, writing: bool = False) -> Project:
        """Return the open project or say what is missing."""
        if self._project is None:
            raise ProjectError("No project is open", todo="Open an image and start annotating.")
        if writing and not self.writable:
            raise ProjectError(
                f"The project {self._project.path} is open read-only",
                todo="Close it where it is being edited, or make its folder writable.",
            )
        return self._project

    def _looking(self) -> tuple[ImageEntry, Tile]:
        """Return the selected image and the view."""
        if self._image is None or self._view is None:
            raise ProjectError("No image is selected", todo="Open an image and start annotating.")
        return self._image, self._view

    def _learnt(self) -> bool:
        """Whether there is a model to predict with; if not, say so."""
        if self.checkpoint is None:
            self._warn(models.nothing_learnt())
        return self.checkpoint is not None and self.writable

    @contextmanager
    def _telling_images(self, project: Project) -> Iterator[None]:
        """Tell which images there are now, of those that came before an error, too."""
        before = project.images
        try:
            yield
        finally:
            if project.images != before:
                self.images_changed.emit(self.images)

    def _remember(self) -> None:
        """Write what a reopened project must restore; a full disk must not stop the annotator."""
        if self._project is not None and self.writable and self.remembers:
            with suppress(CASError):
                projects.remember(
                    self._project, self._image, self.checkpoint, self._config, self._live
                )

    def _warn(self, error: BaseException | Message) -> None:
        message = error if isinstance(error, Message) else Message.of(error, "warning")
        self.messaged.emit(message)

    def _warn_later(self, error: BaseException | Message) -> None:
        self.dispatch(lambda: self._warn(error))

    def _progress_later(self, progress: Progress) -> None:
        self.dispatch(lambda: self.progressed.emit(progress))
