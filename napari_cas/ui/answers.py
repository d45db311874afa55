"""What the session says, shown in the panel and in the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning

from napari_cas.errors import CASError, WorkerError
from napari_cas.session import Message, Progress, State, merging
from napari_cas.ui import facts, guide, paths, sources
from napari_cas.ui.activity import Activity
from napari_cas.ui.extras import Extras
from napari_cas.ui.kinds import Kinds
from napari_cas.ui.pace import Pace
from napari_cas.ui.panels.common import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer

    from napari_cas.config import Config
    from napari_cas.protocol import RoundReport, Tile, WorkerInfo
    from napari_cas.session import Session
    from napari_cas.store import ImageEntry, Project
    from napari_cas.ui.layers import LayerAdapter
    from napari_cas.ui.panel import Panel

_STATUS = {
    State.WARMING: "Starting the worker…",
    State.STOPPING: "Stopping as soon as the present step is done…",
}
_IN_WORKER = ("Fine-tuning", "Predicting")
_SHOW = {"info": show_info, "warning": show_warning, "error": show_error}


class Answers:
    """Listens to the session; each handler is a few lines.

    Parameters
    ----------
    session : Session
        What is listened to.
    layers : LayerAdapter
        Where images, strokes and predictions are shown.
    panel : Panel
        Where everything else is shown.
    """

    def __init__(self, session: Session, layers: LayerAdapter, panel: Panel) -> None:
        self.session, self.layers, self.panel = session, layers, panel
        self.activity = Activity()
        self.pace = Pace()
        self.extras = Extras(layers)
        self.kinds = Kinds(session, layers, panel.kinds)
        self.counter = facts.RegionCounter()
        self.adding = False
        self._problem: Message | None = None
        self._news = self._doing = ""
        self._chosen: list[str] = []
        self._links: list[tuple[Any, Callable[..., None]]] = [
            (session.project_changed, self._project),
            (session.images_changed, self._images),
            (session.image_changed, self._image),
            (session.state_changed, self._state),
            (session.reported, self._recovered),
            (session.tiled, self._recovered),
            (session.reported, self._reported),
            (session.prediction_changed, self._predicted),
            (session.predicted_all, self._predicted_all),
            (session.progressed, self._progressed),
            (session.messaged, self.say),
            (session.device_changed, self._device),
            (session.config_changed, self._config),
            (session.live_changed, self._live),
            (session.checkpoint_changed, self._checkpoint),
            (session.regions_changed, self._regions),
            (session.names_changed, self._names),
            (session.closing, panel.kinds.end_typing),
            (layers.region_chosen, self._region_chosen),
            (layers.chosen_changed, self.show_chosen),
            (layers.result_removed, self._result_removed),
            (layers.sight.replaced, lambda text: self.say(Message("info", text))),
        ]

    def connect(self) -> None:
        """Begin to listen."""
        for signal, slot in self._links:
            signal.connect(slot)

    def disconnect(self) -> None:
        """Stop listening."""
        for signal, slot in self._links:
            signal.disconnect(slot, missing_ok=True)
        self._links.clear()

    def close(self) -> None:
        """Stop listening and take the progress bars away."""
        self.disconnect()
        self.pace.forget()
        self.activity.clear()

    # -- messages and the guide -----------------------------------------------------------------

    def say(self, message: Message) -> None:
        """Tell the annotator: as a notification and in the panel, never as a dialog.

        napari cuts what it notifies of to a line and takes it away soon. What is wrong stands in
        the place of the guide, which is always in sight, and news in the status line.
        """
        if message == self._problem:  # told of by a signal, and raised
            return
        news = message.level == "info"
        self._problem = None if news else message
        self.show_news(f"{self._news} {message}".strip() if news else "")
        _SHOW[message.level](str(message))
        self.refresh()

    def show_news(self, text: str) -> None:
        """Say under the buttons what has happened, until the annotator or the worker goes on."""
        self._news = text
        self._show_status()

    def _show_status(self) -> None:
        """Show news or else what is under way, at once and instead of anything that waits."""
        self.pace.forget("status")
        state = self.session.state
        now = _STATUS.get(state) or (self._doing if state.busy else self._summary())
        self.panel.train.show_status(self._news or now)

    def forget(self) -> None:
        """Stop showing problems and news: the annotator has gone on to something else."""
        self._problem = None
        if self._news:
            self.show_news("")

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Do something; an error a person can act on becomes a message.

        Returns
        -------
        object
            What `action` returned, or None.
        """
        self.forget()
        try:
            result = action()
        except CASError as error:
            self.say(Message.of(error))
            return None
        self.refresh()
        return result

    def refresh(self) -> None:
        """Show what to do next, and enable what can be done now."""
        now = facts.gather(self.session, self.layers, self.counter, adding=self.adding)
        if now.flat and self._problem is not None and self._problem.text == guide.FLAT:
            self._problem = None
        busy = self.session.state.busy
        trained = now.trained
        self.panel.train.show_busy(busy, can_run=now.project and now.writable, learns=now.busy)
        self.panel.train.call_to_run(guide.wants_run(now))
        # Of what is predicted unasked, Predict all makes the beginning of everything.
        taken = busy and (now.busy or self.session.predicting_all)
        self.panel.results.show_available(trained=trained, busy=taken, writable=now.writable)
        alike = merging.summary(self.session.alike)
        self.panel.alike.show_text(alike, can_merge=now.writable)
        self.panel.start.start.setEnabled(now.chosen > 0 and not now.adding)
        if self._problem is None:
            self.panel.guide.show_text(guide.next_step(now))
        else:
            self.panel.guide.show_text(str(self._problem), self._problem.level)
        settle()

    def show_chosen(self) -> None:
        """Show which image layers would be annotated."""
        if self.session.project is not None:
            self.refresh()
            return
        chosen = self.layers.chosen()
        names = [layer.name for layer in chosen]
        if names != self._chosen:  # what was wrong with another image is no matter now
            self._chosen = names
            self.forget()
        together, apart = sources.look_like_channels(chosen), sources.same_shape(chosen)
        start = self.panel.start
        start.show_layers(names, may_be_channels=apart, are_channels=together)
        start.show_axes(sources.readings(chosen[0]) if chosen else ())
        start.suggest_path(str(paths.new_project(sources.title(chosen))) if chosen else "")
        self.refresh()

    # -- the session's signals ------------------------------------------------------------------

    def _project(self, project: Project | None) -> None:
        self.pace.forget()
        self.panel.show_project(project is not None)
        self.panel.plot.clear()
        self._problem, self._news, self._doing = None, "", ""
        if project is None:
            self.layers.show(None, predicted=False)
            self.activity.clear()
            self.panel.train.show_progress(1, 1)
            self.show_chosen()
        else:
            self.panel.project.show_project(str(project.path), writable=self.session.writable)
            self.panel.images.add.setEnabled(self.session.writable)
            self._show_status()
            self.panel.form.show_config(self.session.config)
            self._devices()
        self.refresh()

    def _images(self, names: tuple[str, ...]) -> None:
        current = None if self.session.image is None else self.session.image.name
        self.layers.sight.disown(names)
        self.panel.images.show_images(names, current)

    def _image(self, entry: ImageEntry | None) -> None:
        self.counter.forget()
        self.layers.show(
            entry,
            predicted=entry is not None and self.session.checkpoint is not None,
            writable=self.session.writable,
        )
        self.extras.forget()
        self.extras.update(entry)
        self.panel.kinds.show_all()
        self.kinds.update()
        self._images(self.session.images)
        self.refresh()

    def _state(self, state: State) -> None:
        if not state.busy:
            self.pace.show("kinds", self.kinds.update)  # once, also where it waits already
            self.pace.flush()
        if state is State.STOPPING:
            self._news = ""  # Cancel was pressed, and is to be seen to work
        if not state.busy:
            self._doing = ""
            self._show_status()
            self.panel.train.show_progress(1, 1)
        self.refresh()

    def _progressed(self, step: Progress) -> None:
        self.activity.show(step)
        if self.session.project is None:  # its first images are being copied
            if self._problem is None and not step.finished:
                self.panel.guide.show_text(guide.copying(step.done, step.total))
            return
        self.pace.show("bar", lambda: self.panel.train.show_progress(step.done, step.total))
        if step.finished:
            return
        if self.session.worker is None and step.done == 0 and step.text in _IN_WORKER:
            self._status_soon(f"{step.text}, as soon as the worker has started…")
        elif step.text == "Fine-tuning" and step.done == 0:
            self._status_soon("Fine-tuning: the first round…")
        elif step.text != "Fine-tuning":
            of = f" {step.done} of {step.total}" if step.total > 1 else "…"
            self._status_soon(f"{step.text}{of}")

    def _status_soon(self, text: str) -> None:
        self._doing = text
        self.pace.show("status", lambda: self.panel.train.show_status(text))

    def _summary(self) -> str:
        """Return what the last training came to."""
        reports = [report for report in self.session.reports if report.losses]
        if not reports:
            return "" if self.session.worker is None else "Ready."
        last = reports[-1]
        ended = "converged" if last.converged else "stopped"
        return (
            f"{ended.capitalize()} after {last.steps} steps: {last.regions} regions "
            f"in {last.channels_used} channel{'s' * (last.channels_used != 1)}."
        )

    def _recovered(self, _report: object) -> None:
        """Say no more that the worker died: another one has gone on."""
        if self._problem is not None and isinstance(self._problem.error, WorkerError):
            self._problem = None
            self.refresh()

    def _reported(self, report: RoundReport) -> None:
        self.extras.update(self.session.image)
        self.kinds.know(report.kinds)
        if not report.losses:  # a view was predicted
            return
        self._news = ""
        self.panel.plot.add(report)
        self.pace.show("plot", self.panel.plot.draw)
        self.pace.show("alike", self.refresh)
        self.pace.show("kinds", self.kinds.update)
        seconds = report.seconds.get("total")
        took = f", {seconds:.1f} s a round" if seconds else ""
        self._status_soon(f"Fine-tuning: step {report.steps} on {report.device}{took}")

    def _predicted(self, tile: Tile) -> None:
        if self.layers.refresh(tile):
            self.pace.hurry()  # the window is composed anew for the canvas anyway

    def _predicted_all(self, done: bool) -> None:
        if done:
            self.say(Message("info", "All planes of all images are predicted."))
        else:
            self.show_news("Stopped. Predict all goes on from here.")

    def _device(self, _worker: WorkerInfo) -> None:
        self._devices()
        if self.session.state.busy:
            self._doing = "Fine-tuning: the first round…"
            self._show_status()

    def _devices(self) -> None:
        worker = self.session.worker
        known = worker.devices if worker else ("cpu",)
        kinds = dict.fromkeys(["auto", *(name.split(":")[0] for name in known)])
        chosen = self.session.config.device
        resolved = worker.device if worker and chosen == "auto" else None
        self.panel.train.show_devices(tuple(kinds), chosen, resolved)

    def _config(self, config: Config) -> None:
        self.panel.form.show_config(config)
        self._devices()

    def _live(self, on: bool) -> None:
        self.panel.train.show_live(on)
        self.refresh()

    def _checkpoint(self, name: str | None) -> None:
        if name is None:
            self.panel.plot.clear()
            self.layers.drop_results()
            self.extras.forget()
            self.kinds.know(())
            self.kinds.update()
            self.layers.ensure_regions(writable=self.session.writable)
        self.refresh()

    def _regions(self) -> None:
        self.layers.refresh_regions()
        self.counter.forget()
        self.refresh()

    def _names(self, _names: dict[int, str]) -> None:
        self.kinds.renamed()

    def _region_chosen(self) -> None:
        self.panel.train.show_region(self.layers.region_colour())
        self.refresh()

    def _result_removed(self, layer: Layer) -> None:
        kind = self.extras.removed(layer)
        if kind is not None:
            self.panel.results.show_layer(kind, on=False)
