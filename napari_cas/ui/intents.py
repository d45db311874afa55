"""What the annotator intends, carried out: each button, key and command is one method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cas.session import Message, State, machine, merging, transfer
from napari_cas.ui import samples
from napari_cas.ui.guide import FLAT, NOTHING, PICK
from napari_cas.ui.opening import ProjectIntents
from napari_cas.ui.splitting import Splitting

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_cas.config import ClusterSettings, Config, DeviceName
    from napari_cas.jobs import Executor
    from napari_cas.protocol import Box, Plane
    from napari_cas.session.background import BackgroundSession
    from napari_cas.ui.answers import Answers
    from napari_cas.ui.layers import LayerAdapter
    from napari_cas.ui.panel import Panel


class Intents(ProjectIntents):
    """Listens to views, keys and layers and asks the session.

    Parameters
    ----------
    session, layers, panel, answers : BackgroundSession, LayerAdapter, Panel, Answers
        Who is asked, where from, and who tells of errors.
    """

    def __init__(
        self, session: BackgroundSession, layers: LayerAdapter, panel: Panel, answers: Answers
    ) -> None:
        super().__init__(session, layers, panel, answers)
        self.splitting = Splitting(session, layers, answers)

    def connect(self) -> None:
        """Listen to the views and to painting."""
        self.panel.start.show_samples(samples.menu())
        start, project, images = self.panel.start, self.panel.project, self.panel.images
        train, results = self.panel.train, self.panel.results
        start.start_requested.connect(self.start)
        start.sample_requested.connect(self.open_sample)
        for view in (start, project):
            view.open_requested.connect(self.open_project)
        project.close_requested.connect(self.close_project)
        project.save_model_requested.connect(self.save_model)
        project.load_model_requested.connect(self.load_model)
        project.reset_model_requested.connect(self.reset_model)
        project.export_requested.connect(self.export)
        images.names.stage = self.session.stage
        images.selected.connect(self.select_image)
        images.stepped.connect(self.step_image)
        images.add_requested.connect(self.add_images)
        project.remove_image_requested.connect(self.remove_image)
        train.new_region_requested.connect(self.new_region)
        train.run_requested.connect(self.fine_tune)
        train.cancel_requested.connect(self.cancel)
        train.live_toggled.connect(self.set_live)
        train.device_chosen.connect(self.choose_device)
        self.panel.alike.merge_requested.connect(self.merge_alike)
        self.panel.kinds.named.connect(self.name_kind)
        self.panel.kinds.taken.connect(self.take_label)
        self.panel.kinds.singled_out.connect(self.answers.kinds.single_out)
        results.next_requested.connect(self.go_next)
        results.accept_requested.connect(self.accept_selected)
        results.split_requested.connect(self.splitting.split)
        results.predict_all_requested.connect(self.predict_all)
        results.probabilities_toggled.connect(lambda on: self.show_extra("probabilities", on=on))
        results.uncertainty_toggled.connect(lambda on: self.show_extra("uncertainty", on=on))
        self.panel.form.changed.connect(self.change_config)
        self.panel.machine.chosen.connect(self.run_on)
        self.layers.painted.connect(self.stroke_finished)
        self.layers.corrected.connect(self.corrected)
        self.session.reported.connect(self.seen.reported)

    # -- looking --------------------------------------------------------------------------------

    def view_settled(self) -> None:
        """Tell the session what is looked at, and have it predicted if nothing is there yet."""
        self.layers.follow_view()
        seen = self.layers.view()
        if seen is not None and self.session.image is not None:
            self.session.set_view(*seen)
        self.answers.refresh()
        if seen is None:
            return
        self.answers.kinds.update()
        if self.session.state is State.READY and self.seen.is_outdated(*seen):
            self.session.predict_view()

    def _look(self) -> None:
        """Tell the session what is looked at now: it hears of moves only when they have ended."""
        seen = self.layers.view()
        if seen is not None:
            self.session.set_view(*seen)

    # -- painting -------------------------------------------------------------------------------

    def new_region(self) -> None:
        """Give the brush the next unused region id."""
        if self.session.image is None or not self.session.writable:
            return
        self._look()
        self.answers.attempt(lambda: self.layers.choose_region(self.session.new_region()))

    def stroke_finished(self) -> None:
        """Save the stroke; in live mode it trains."""
        self.answers.counter.forget()
        self.answers.attempt(self.session.stroke_finished)

    def corrected(self, plane: Plane, box: Box, fresh: NDArray[np.bool_]) -> None:
        """Save a correction and teach it."""
        self.answers.attempt(lambda: self.session.corrected(plane, box, fresh))

    def accept_under_cursor(self) -> None:
        """Copy the predicted segment under the cursor into the regions."""
        if not self._is_flat():
            return
        found = self._under_cursor("Point at a predicted segment, then press A.")
        if found is not None:
            self._accept(*found)

    def take_kind(self) -> None:
        """Give the brush the predicted label under the cursor, to paint over what is wrong."""
        if not self._is_flat() or not self.session.writable:
            return
        found = self._under_cursor("Point at what is right, then press K.")
        if found is not None:
            self.take_label(found[0])

    def _under_cursor(self, advice: str) -> tuple[int, tuple[int, int]] | None:
        """Return what is predicted under the cursor; if nothing is, give this advice."""
        if self.session.checkpoint is not None:
            self.layers.ensure_prediction()  # deleted maybe
        found = self.layers.under_cursor()
        if found is None:
            missing = self.layers.prediction is None
            self.answers.say(Message("warning", NOTHING if missing else advice))
        return found

    def take_label(self, label: int) -> None:
        """Give the brush a kind that was found, whether the plane shows any of it or not."""
        entry = self.session.image
        if entry is None or not self._is_flat() or not self.session.writable:
            return
        self.answers.forget()
        self.answers.kinds.show_all()  # what is wrong has to be seen
        self.layers.ensure_prediction()
        self.layers.choose_label(entry.naming.one(label))
        self.answers.show_news("Paint over what should be like that. N goes back to regions.")
        self.answers.refresh()

    def accept_selected(self) -> None:
        """Copy all of the label picked in the prediction layer into the regions."""
        if not self._is_flat():
            return
        label = self.layers.predicted_label()
        if label:
            self._accept(label, None)
        else:
            self.answers.say(Message("warning", PICK))

    def _is_flat(self) -> bool:
        """Whether a plane is shown as it is painted on; says so if not."""
        if self.layers.regions is None or self.layers.view() is not None:
            return self.session.image is not None
        self.answers.say(Message("warning", FLAT))
        return False

    def _accept(self, label: int, at: tuple[int, int] | None) -> None:
        self._look()
        entry, view = self.session.image, self.session.view
        if entry is None or view is None:
            return
        with self.layers.undoable([(view.plane, transfer.reach(entry, view, at))]) as undo:
            region = self.answers.attempt(lambda: self.session.accept_as_region(label, at))
        if region is not None:
            where = "Segment" if at else f"Label {label}"
            self.answers.show_news(f"{where} accepted as region {region}.{undo.note}")

    def merge_alike(self) -> None:
        """Give regions that look alike one id."""
        entry = self.session.image
        places = merging.places(entry, self.session.alike) if entry is not None else []
        with self.layers.undoable(places) as undo:
            gone = self.answers.attempt(self.session.merge_alike)
        if gone:
            merged = f"{gone} region{'s' * (gone > 1)} merged into alike ones."
            self.answers.show_news(f"{merged}{undo.note}")

    # -- learning -------------------------------------------------------------------------------

    def fine_tune(self) -> None:
        """Learn from all strokes and predict what is looked at."""
        if self.session.project is None:
            return
        self._look()
        self.answers.attempt(self.session.fine_tune)
        if self.session.state not in (State.READY, State.WARMING):
            # Rather than with the first result: making a layer's controls takes napari a while.
            self.layers.ensure_prediction()

    def cancel(self) -> None:
        """Stop after the present round."""
        self.session.cancel()

    def set_live(self, on: bool) -> None:
        """Retrain after every stroke, or not."""
        self.session.live = on

    def toggle_live(self) -> None:
        """Switch live mode on or off."""
        if self.session.project is not None:
            self.set_live(not self.session.live)

    def predict_all(self) -> None:
        """Predict every plane of every image."""
        if self.session.checkpoint is not None:
            self.layers.ensure_prediction()  # deleted maybe, with nothing left to be predicted
        self.answers.attempt(self.session.predict_all)

    def choose_device(self, name: DeviceName) -> None:
        """Run the network elsewhere."""
        self.change_config(self.session.config.model_copy(update={"device": name}))

    def change_config(self, config: Config) -> None:
        """Take over the settings of the form; the device has a control of its own."""
        learnt = self.session.checkpoint
        self.session.config = config
        if learnt is not None and self.session.checkpoint is None:
            text = "Another network begins anew: what was learnt is forgotten."
            self.answers.say(Message("warning", text, "Your strokes are kept: fine-tune again."))

    def run_on(self, cluster: ClusterSettings) -> None:
        """Train and predict on a cluster, or on this machine again, and remember it."""
        view, where = self.panel.machine, cluster.scheduler or "this machine"
        view.show_state(f"Looking for {where} …", busy=True)

        def told(done: Future[Executor | None]) -> None:
            if done.exception() is not None:
                view.show_state(f"{where} cannot be used; everything stays as it was.")
                return
            view.show_state(f"Trains and predicts on {where}.")
            self.answers.attempt(lambda: machine.save(cluster))

        self.session.run_on_later(cluster).add_done_callback(told)

    def recall_machine(self) -> None:
        """Go to the machine that was used last."""
        cluster = machine.load()
        if cluster.scheduler:
            self.panel.machine.show_cluster(cluster)
            self.run_on(cluster)

    # -- results --------------------------------------------------------------------------------

    def name_kind(self, label: int, name: str) -> None:
        """Name a kind that was found; kinds of one name are shown as one."""
        self.answers.attempt(lambda: self.session.name_kind(label, name))
        self.answers.kinds.update()  # what could not be taken is not shown

    def go_next(self) -> None:
        """Go to where the network hesitates most, on whichever image, so that it can be painted."""
        if self.session.project is None or not self._is_flat():
            return
        self.session.flush()  # what is painted by now counts
        place = self.answers.attempt(self.session.where_next)
        if place is None:
            return
        if self.session.image is None or self.session.image.name != place.image:
            self.select_image(place.image)
        self.layers.go_to(place.plane, (place.y, place.x))
        self.layers.ensure_regions(writable=self.session.writable)
        self.layers.recall_region()  # what it held on another plane is some other region here
        teach = " Paint it: K over a kind that was found, N for a new one." * self.session.writable
        self.answers.show_news(
            f"In the middle the network hesitates ({100 * place.value:.0f} %).{teach}"
        )

    def show_extra(self, kind: str, *, on: bool) -> None:
        """Show or hide the layer of probabilities or of uncertainty."""
        self.answers.extras.want(kind, on=on)
        self.session.probabilities = bool(self.answers.extras.wanted)
        if on:
            self.answers.extras.update(self.session.image)
            if self.session.checkpoint is not None and self.session.writable:
                self.session.predict_view()

    # -- model and export -----------------------------------------------------------------------

    def save_model(self, path: str | Path) -> None:
        """Write the present model to a directory."""
        saved = self.answers.attempt(lambda: self.session.save_model(path))
        if saved is not None:
            self.answers.say(Message("info", f"Model saved to {saved}."))

    def load_model(self, path: str | Path) -> None:
        """Go on from a saved model and predict with it."""
        before = self.session.checkpoint
        self.answers.attempt(lambda: self.session.load_model(path))
        if self.session.checkpoint != before:
            self.layers.drop_results()  # and with it what could be undone in another's prediction
            self.answers.extras.forget()
            self.answers.kinds.know(())
            self.layers.ensure_prediction()
            self.layers.ensure_regions(writable=self.session.writable)
            self.answers.say(Message("info", f"Model loaded from {path}."))
            self.seen.forget()
            self.view_settled()

    def reset_model(self) -> None:
        """Forget what was learnt, after asking if anything was; strokes stay."""
        if self.session.checkpoint is not None and not self.panel.project.confirm_forgetting():
            return
        self.answers.attempt(self.session.reset_model)
        if self.session.checkpoint is None:
            self.answers.show_news("What was learnt is forgotten; your strokes are kept.")

    def export(self, path: str | Path) -> None:
        """Write the project as an OME-Zarr data set in the background."""
        self.layers.sight.keep_looks()
        self.answers.attempt(lambda: self.session.export(path))
