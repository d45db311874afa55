"""What the annotator intends with projects and images: make, open, add, go from one to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cas.session import Message
from napari_cas.ui import paths, samples, sources
from napari_cas.ui.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from napari.layers import Image

    from napari_cas.session import NewImage
    from napari_cas.session.background import BackgroundSession
    from napari_cas.ui.answers import Answers
    from napari_cas.ui.layers import LayerAdapter
    from napari_cas.ui.panel import Panel


class ProjectIntents:
    """What can be done with projects and their images; `Intents` adds painting and learning.

    Parameters
    ----------
    session, layers, panel, answers
        See `Intents`.
    """

    def __init__(
        self, session: BackgroundSession, layers: LayerAdapter, panel: Panel, answers: Answers
    ) -> None:
        self.session, self.layers, self.panel, self.answers = session, layers, panel, answers
        self.seen = Seen(session)

    def start(self, path: str = "", as_channels: bool = False, axes: str = "") -> None:
        """Make a project of the chosen image layers, copying pixels in the background.

        Parameters
        ----------
        path : str, optional
            Directory of the project; by default a free one in the folder of new projects.
        as_channels : bool
            Whether several layers are channels of one image.
        axes : str
            What the dimensions of a stack mean; by default the likeliest reading.
        """
        if self.answers.adding:  # pressed twice: the images would be taken twice
            return
        groups, new = self._chosen(as_channels=as_channels, axes=axes)
        if not new:
            self.answers.say(Message("warning", "Select an image layer first."))
            return
        target = path or str(paths.new_project(new[0].name))
        self.answers.adding = True
        self.answers.refresh()
        future = self.session.create_project_later(
            target, new, before=lambda names: self._replace(names, groups)
        )
        future.add_done_callback(lambda _: self._made())

    def _made(self) -> None:
        self._added()
        if self.session.project is not None:
            self.session.warm_up()

    def add_images(self) -> None:
        """Take the selected image layers into the open project."""
        if self.answers.adding:
            return
        taken = self.layers.taken()
        together = self._are_channels([a for a in self.layers.chosen() if a not in taken])
        groups, new = self._chosen(as_channels=together, axes="", without=taken)
        if not new:
            text = "Select image layers that are not in the project yet."
            self.answers.say(Message("warning", text))
            return
        self.answers.adding = True
        self.answers.forget()
        self.answers.show_news(f"Copying {_images(len(new))} into the project…")
        future = self.session.add_images_later(new, before=lambda names: self._own(names, groups))
        future.add_done_callback(self._told_added)

    def _are_channels(self, layers: Sequence[Image]) -> bool:
        """Whether layers are one image of as many channels as those of the project have."""
        entry = self.session.image
        alike = entry is not None and entry.n_channels == len(layers)
        return alike and sources.look_like_channels(layers)

    def _chosen(
        self, *, as_channels: bool, axes: str, without: Sequence[Image] = ()
    ) -> tuple[list[tuple[list[Image], str]], list[NewImage]]:
        """Return the chosen layers, grouped by image, with its axes, and the images they make."""
        chosen = [layer for layer in self.layers.chosen() if layer not in without]
        if as_channels and len(chosen) > 1:
            image = sources.new_image_of_channels(chosen, axes)
            return [(chosen, image.axes)], [image]
        new = [sources.new_image(layer, axes) for layer in chosen]
        return [([a], image.axes) for a, image in zip(chosen, new, strict=True)], new

    def _replace(self, names: Sequence[str], groups: list[tuple[list[Image], str]]) -> None:
        self.session.close_project()  # now, for it forgets which layers show what
        self._own(names, groups)

    def _own(self, names: Sequence[str], groups: list[tuple[list[Image], str]]) -> None:
        for name, (group, axes) in zip(names, groups, strict=True):
            self.layers.sight.own(name, group, axes)

    def _told_added(self, done: Future[tuple[str, ...]]) -> None:
        self._added()
        if done.exception() is None:
            self.answers.show_news(f"{_images(len(done.result()))} added.")

    def _added(self) -> None:
        self.answers.adding = False
        self.answers.refresh()

    def open_project(self, path: str | Path) -> None:
        """Open a project; everything in it comes back."""
        before = self.session.project
        self.answers.attempt(lambda: self.session.open_project(path))
        if self.session.project is not before:
            self.seen.forget()
            if self.session.writable:
                self.session.warm_up()

    def close_project(self) -> None:
        """Save and close the project; it stays open where it cannot be saved."""
        self.answers.attempt(self.session.close_project)
        self.seen.forget()

    def remove_image(self) -> None:
        """Remove the image that is shown from the project, after asking."""
        entry = self.session.image
        if entry is None or not self.panel.project.confirm_removal(entry.name):
            return
        self.answers.attempt(lambda: self.session.remove_image(entry.name))
        if entry.name not in self.session.images:
            self.answers.show_news(f"Image {entry.name!r} is no longer in the project.")

    def open_sample(self, name: str) -> None:
        """Open a sample that comes with the package."""
        for data, options, _kind in self.answers.attempt(lambda: samples.sample_layers(name)) or ():
            self.layers.add_image(data, options)

    def select_image(self, name: str) -> None:
        """Go to an image of the project."""
        self.answers.attempt(lambda: self.session.select_image(name))

    def step_image(self, by: int) -> None:
        """Go to the next image (1) or the previous one (-1)."""
        names, image = self.session.images, self.session.image
        if image is None or image.name not in names:  # it has just been taken out again
            return
        index = names.index(image.name) + by
        if 0 <= index < len(names):
            self.select_image(names[index])

    def next_image(self) -> None:
        """Go to the next image."""
        self.step_image(1)

    def previous_image(self) -> None:
        """Go to the previous image."""
        self.step_image(-1)


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
