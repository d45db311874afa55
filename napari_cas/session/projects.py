"""Opening, filling and remembering projects, on behalf of the session."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from pydantic import ValidationError

from napari_cas.config import Config
from napari_cas.errors import (
    ImageError,
    ProjectError,
    ProjectFormatError,
    ProjectLockedError,
    StorageError,
)
from napari_cas.protocol import Box, Tile
from napari_cas.session.copying import copying
from napari_cas.session.events import Message, NewImage
from napari_cas.store import Project
from napari_cas.store.files import safe_name
from napari_cas.store.opacity import without_opacity
from napari_cas.store.palettes import in_colours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from napari_cas.session.events import Progress
    from napari_cas.store import ImageEntry

Said: TypeAlias = "BaseException | Message"
"""What is to be passed on to the annotator."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a project remembers of its last session."""

    image: str | None
    checkpoint: str | None
    config: Config | None
    live: bool | None


def create(
    path: str | Path,
    images: Sequence[NewImage],
    warn: Callable[[Said], None],
    tell: Callable[[Progress], None] = lambda _: None,
) -> Project:
    """Make a project with these images; nothing stays behind when one of them is refused."""
    project = Project.create(path)
    with giving_up(project):
        add_images(project, images, warn, tell)
    return project


@contextmanager
def giving_up(project: Project) -> Iterator[None]:
    """Discard a project when there is an error: its lock would be held, and its place be taken."""
    try:
        yield
    except BaseException:
        project.discard()
        raise


def open_for_session(path: str | Path, warn: Callable[[Said], None]) -> Project:
    """Open for writing, or read-only with a message when that cannot be."""
    try:
        project = Project.open(path, mode="r+")
    except (ProjectLockedError, StorageError) as error:
        project = Project.open(path, mode="r")
        locked = isinstance(error, ProjectLockedError)
        todo = "To paint, close it there and open it here again." if locked else error.todo
        warn(Message("warning", f"{error.what}: the project is open read-only.", todo or None))
    for problem in project.problems:
        warn(Message("warning", problem))
    return project


def add_images(
    project: Project,
    images: Sequence[NewImage],
    warn: Callable[[Said], None],
    tell: Callable[[Progress], None] = lambda _: None,
) -> tuple[str, ...]:
    """Take images into a project, tell how far a long copy is, and return the names they got."""
    names = []
    for image in images:
        name = free_name(image.name, project.taken)
        # Before it is copied: while it is in the project, it can be gone to and painted.
        _refuse_other_channels(project, name, _channels(image))
        try:
            with copying(name, tell) as progress:
                entry = _take(project, name, image, _while_open(project, progress))
        except ImageError as error:
            if len(images) == 1:
                raise
            raise error.saying(what=f"{image.name}: {error.what}") from error  # which of them
        try:  # what could not be told before
            _refuse_other_channels(project, entry.name, entry.n_channels)
        except ImageError:
            project.remove_image(entry.name)
            raise
        if entry.name != image.name:
            warn(Message("info", f"Image {image.name!r} is called {entry.name!r} in the project."))
        if entry.intensity.missing:
            warn(_gaps(entry))
        names.append(entry.name)
    return tuple(names)


def _while_open(
    project: Project, progress: Callable[[int, int], None]
) -> Callable[[int, int], None]:
    """Return what ends a copy when its project is closed: nobody is left to write into it."""

    def step(done: int, total: int) -> None:
        if project.closed:
            raise ProjectError(f"{project.path} was closed while an image was copied into it")
        progress(done, total)

    return step


def _channels(image: NewImage) -> int | None:
    """Return how many channels an image will have, or None if that is not to be told beforehand."""
    if image.source is not None or image.data is None or image.palette is not None:
        return None
    axis = image.axes.lower().find("c")
    if axis < 0:
        return 1
    if len(image.axes) != len(image.data.shape):
        return None
    return int(image.data.shape[axis]) - (image.opacity is not None)


def _refuse_other_channels(project: Project, name: str, channels: int | None) -> None:
    """Refuse an image that one network cannot learn together with the others."""
    if not project.images or channels is None:
        return
    first = project.image(project.images[0])
    if channels != first.n_channels:
        raise ImageError.of_channels(name, repr(first.name), wanted=first.n_channels, got=channels)


def _gaps(entry: ImageEntry) -> Message:
    """Return what is said of an image with pixels that hold no data."""
    share = 100 * entry.intensity.missing
    value = entry.intensity.no_data
    which = "NaN" if value is None else f"{value} in all channels"
    text = f"{max(share, 0.1):.1f} % of the values of image {entry.name!r} are no data ({which})"
    return Message("info", f"{text}: pixels without any are neither learnt from nor labelled.")


def _take(
    project: Project, name: str, image: NewImage, progress: Callable[[int, int], None]
) -> ImageEntry:
    """Refer to an image where that can be, else copy it."""
    if image.source is not None:
        try:
            return project.add_reference(name, image.source, image.no_data)
        except (ImageError, ProjectFormatError):
            # A layer may come from a URL that merely sounds like an image; its pixels are here.
            if image.data is None or "://" not in image.source:
                raise
    if image.data is None:
        raise ImageError(f"Image {image.name!r} has no pixels", expected="data or a source")
    if image.palette is not None:
        image = _coloured(image)
    data, no_data = image.data, image.no_data
    if image.opacity is not None:
        data, no_data = without_opacity(data, image.axes, image.opacity, no_data)
    return project.add_image(
        name,
        data,
        image.axes,
        scale=image.scale,
        units=image.units,
        translation=image.translation,
        channel_names=image.channel_names,
        no_data=no_data,
        progress=progress,
    )


def _coloured(image: NewImage) -> NewImage:
    """Return an image of places in a table of colours as one of colours."""
    data, axes, no_data = in_colours(image.data, image.axes, image.palette, image.no_data)
    more = len(axes) - len(image.axes)
    return replace(
        image,
        data=data,
        axes=axes,
        scale=None if image.scale is None else (*image.scale, *(1.0,) * more),
        units=None if image.units is None else (*image.units, *("",) * more),
        translation=None if image.translation is None else (*image.translation, *(0.0,) * more),
        no_data=no_data,
    )


def first_view(entry: ImageEntry, longest: int) -> Tile:
    """Return the view before anyone has looked: the middle of the middle plane."""
    plane = tuple(n // 2 for n in entry.planes_shape)
    height, width = entry.plane_size
    return Tile(entry.name, plane, limit(Box(0, 0, height, width), longest))


def limit(box: Box, longest: int) -> Box:
    """Cut a box around its centre to sides of at most `longest` pixels."""
    height, width = (min(side, longest) for side in box.shape)
    y0, x0 = box.y0 + (box.shape[0] - height) // 2, box.x0 + (box.shape[1] - width) // 2
    return Box(y0, x0, y0 + height, x0 + width)


def restore(project: Project, warn: Callable[[Said], None]) -> Restored:
    """Return what the project remembers, leaving out what is no longer there or understood."""
    state = project.get_state()
    image, checkpoint = state.get("image"), state.get("checkpoint")
    if not isinstance(image, str) or image not in project.images:
        image = project.images[0] if project.images else None
    if checkpoint is not None and checkpoint not in project.models:
        warn(
            Message(
                "warning",
                f"The model {checkpoint!r} is no longer in the project.",
                "Strokes are all there: fine-tune again.",
            )
        )
        checkpoint = None
    name, live = None if checkpoint is None else str(checkpoint), state.get("live")
    return Restored(image, name, _config(state, warn), live if isinstance(live, bool) else None)


def remember(
    project: Project,
    image: ImageEntry | None,
    checkpoint: str | None,
    config: Config,
    live: bool,
) -> None:
    """Write what the next session must find."""
    project.set_state(
        {
            "image": None if image is None else image.name,
            "checkpoint": checkpoint,
            "config": config.model_dump(mode="json"),
            "live": live,
        }
    )


def _config(state: dict[str, object], warn: Callable[[Said], None]) -> Config | None:
    if "config" not in state:
        return None
    try:
        return Config.model_validate(state["config"])
    except ValidationError:
        warn(Message("warning", "The project's settings are not understood; yours are kept."))
        return None


def free_name(name: str, taken: Sequence[str]) -> str:
    """Return a name for an image that is safe as a folder and not taken.

    Parameters
    ----------
    name : str
        What it would be called best.
    taken : sequence of str
        As `Project.taken` has them: a damaged image keeps its name.
    """
    base = candidate = safe_name(name)
    used, number = {other.casefold() for other in taken}, 2
    while candidate.casefold() in used:
        candidate, number = safe_name(base, f"-{number}"), number + 1
    return candidate
