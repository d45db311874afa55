"""What a session tells its listeners, and what it is given: small plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from napari_cas.errors import CASError

if TYPE_CHECKING:
    from collections.abc import Sequence


class State(Enum):
    """What the session is doing now.

    ``NO_PROJECT`` (nothing is open), ``READY`` (waiting for the annotator), ``WARMING`` (the worker
    starts and loads the network), ``TRAINING`` (rounds run), ``PREDICTING`` (tiles or a view are
    predicted without training), ``STOPPING`` (cancelled; the last round or batch is finishing).
    """

    NO_PROJECT = "no project"
    READY = "ready"
    WARMING = "warming up"
    TRAINING = "training"
    PREDICTING = "predicting"
    STOPPING = "stopping"

    @property
    def busy(self) -> bool:
        """Whether work the annotator asked for is under way and can be cancelled."""
        return self in (State.TRAINING, State.PREDICTING)


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image to take into a project.

    Attributes
    ----------
    name : str
        Name within the project; made unique there when taken already.
    data : array-like or None
        Pixels (numpy, dask or zarr), copied chunk by chunk; None when `source` is given.
    axes : str
        One letter for each dimension of `data`, such as ``"yx"``, ``"yxc"`` or ``"tzyx"``.
    scale : sequence of float, optional
        Physical size of a pixel along each axis.
    units : sequence of str, optional
        Unit of each axis, such as ``"micrometer"``.
    translation : sequence of float, optional
        Place of the first pixel along each axis, in these units: where the stage stood.
    channel_names : sequence of str, optional
        Names of the channels.
    no_data : int, optional
        Of integers: pixels that are this in all channels hold no data.
    opacity : int, optional
        The channel that is no colour but the opacity: it is left out, and where it is 0, there are
        no data.
    palette : ndarray, optional
        (N, C) table of colours in which pixels are places; there are no channels then.
    source : str, optional
        Path or URL of an existing OME-Zarr image to refer to instead of copying.
    """

    name: str
    data: Any = None
    axes: str = "yx"
    scale: Sequence[float] | None = None
    units: Sequence[str] | None = None
    translation: Sequence[float] | None = None
    channel_names: Sequence[str] | None = None
    no_data: int | None = None
    opacity: int | None = None
    palette: Any = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the present work is.

    Attributes
    ----------
    done, total : int
        Rounds, tiles or images done and to do; ``total`` 0 means unknown.
    text : str
        What is being done, a few words. Progress has ended when ``done == total``.
    """

    done: int
    total: int
    text: str

    @property
    def finished(self) -> bool:
        """Whether the work this belongs to is over."""
        return self.total > 0 and self.done >= self.total


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence for the person in front of the screen.

    Attributes
    ----------
    level : {"info", "warning", "error"}
        How it is shown.
    text : str
        What happened.
    action : str, optional
        What the person can do about it.
    details : str
        Traceback of the worker, for a bug report; usually empty.
    error : BaseException, optional
        The error behind it.
    """

    level: Literal["info", "warning", "error"]
    text: str
    action: str | None = None
    details: str = ""
    error: BaseException | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """Return text and action in one line."""
        return f"{self.text} {self.action}" if self.action else self.text

    @classmethod
    def of(cls, error: BaseException, level: Literal["warning", "error"] = "error") -> Message:
        """Return the message for an error; an error that is not ours names its type."""
        if isinstance(error, CASError):
            found = [
                f"{word} {value}"
                for word, value in (("expected", error.expected), ("got", error.got))
                if value is not None
            ]
            text = f"{error.what}: {', '.join(found)}." if found else f"{error.what}."
            return cls(level, text, error.todo or None, getattr(error, "details", ""), error)
        return cls(level, f"{type(error).__name__}: {error}", None, "", error)
