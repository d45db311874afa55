"""What crosses the process boundary: small frozen requests go out, small frozen reports come back.

No pixels travel. A request names a project on disk, the worker reads what it needs and writes its
predictions there; the report says what changed and where.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from napari_cas.config import Config

Plane: TypeAlias = tuple[int, ...]
"""Indices along an image's leading axes (time, depth), without channel, y and x; ``()`` in 2-D."""


class Box(NamedTuple):
    """Half-open rectangle of pixels on a plane."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def clip(self, height: int, width: int) -> Box:
        """Return the part inside an image of ``height`` × ``width`` (possibly empty)."""
        y0, x0 = min(max(self.y0, 0), height), min(max(self.x0, 0), width)
        return Box(y0, x0, max(min(self.y1, height), y0), max(min(self.x1, width), x0))

    def touches(self, other: Box) -> bool:
        """Whether the two share a pixel."""
        return (
            self.y0 < other.y1 and other.y0 < self.y1 and self.x0 < other.x1 and other.x0 < self.x1
        )

    def contains(self, other: Box) -> bool:
        """Whether all of the other is in this one."""
        return (
            self.y0 <= other.y0
            and self.x0 <= other.x0
            and other.y1 <= self.y1
            and other.x1 <= self.x1
        )

    def intersection(self, other: Box) -> Box:
        """Return the common part of two that touch."""
        return Box(
            max(self.y0, other.y0),
            max(self.x0, other.x0),
            min(self.y1, other.y1),
            min(self.x1, other.x1),
        )

    def inside(self, outer: Box) -> Box:
        """Return the same pixels, counted from the corner of a box around them."""
        y0, x0 = outer.y0, outer.x0
        return Box(self.y0 - y0, self.x0 - x0, self.y1 - y0, self.x1 - x0)


class Tile(NamedTuple):
    """A box of one plane of one image of a project."""

    image: str
    plane: Plane
    box: Box


@dataclass(frozen=True, slots=True)
class RoundRequest:
    """One round: about a second of training, then a prediction of what the annotator looks at.

    Attributes
    ----------
    project : str
        Path of the project directory.
    config : Config
        All settings.
    view : Tile or None
        What is predicted after training; None trains only.
    checkpoint : str or None
        Name of the model in the project to start from; None starts afresh.
    round : int
        Number of this round in its chain, from 0.
    train : bool
        False predicts the view only.
    probabilities : bool
        Whether the channel probabilities of the view are written too.
    """

    project: str
    config: Config
    view: Tile | None = None
    checkpoint: str | None = None
    round: int = 0
    train: bool = True
    probabilities: bool = False


class Doubt(NamedTuple):
    """An unpainted place where the network hesitates.

    Attributes
    ----------
    value : float
        Mean entropy of the probabilities there, 0 to 1.
    y, x : int
        The middle of the place, a pixel of the plane.
    """

    value: float
    y: int
    x: int


class Alike(NamedTuple):
    """Regions of one plane that look alike and are learnt as one.

    Attributes
    ----------
    image : str
        Name of the image.
    plane : tuple of int
        Indices along its leading axes.
    ids : tuple of int
        Two or more ids, ascending.
    """

    image: str
    plane: Plane
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LossPoint:
    """The loss terms at one optimiser step, as minimised (α-weighting not applied to the terms)."""

    step: int
    total: float
    uniformer: float
    discriminator: float


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What one round did.

    Attributes
    ----------
    checkpoint : str or None
        Name of the model saved in the project after this round.
    steps : int
        Optimiser steps taken since the chain's first round.
    losses : tuple of LossPoint
        Loss terms of this round, at most 50 points.
    channels_used : int
        Channels that hold at least one painted region.
    regions : int
        Painted regions trained on, over all planes.
    changed : tuple of Tile
        Boxes of the prediction array that were written.
    converged : bool
        Whether further rounds would hardly change the prediction.
    seconds : dict of str to float
        Time by phase: "features", "fit", "predict", "write", "total".
    device : str
        Device that did the work, such as "cpu" or "cuda:0".
    warnings : tuple of str
        Sentences the annotator should read, such as a lowered learning rate.
    alike : tuple of Alike
        Regions that look alike and were learnt as one.
    kinds : tuple of int
        Labels that the model can predict, on whichever plane; empty where that is not known.
    """

    checkpoint: str | None
    steps: int
    losses: tuple[LossPoint, ...]
    channels_used: int
    regions: int
    changed: tuple[Tile, ...]
    converged: bool
    seconds: dict[str, float] = field(default_factory=dict)
    device: str = "cpu"
    warnings: tuple[str, ...] = ()
    alike: tuple[Alike, ...] = ()
    kinds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TilesRequest:
    """Predict these tiles with one checkpoint of a project."""

    project: str
    config: Config
    checkpoint: str
    tiles: tuple[Tile, ...]
    probabilities: bool = False


@dataclass(frozen=True, slots=True)
class TilesReport:
    """Tiles that are now predicted and on disk.

    Attributes
    ----------
    done : tuple of Tile
        All of them.
    seconds : dict of str to float
        Time by phase: "predict", "write".
    device : str
        Device that did the work.
    empty : tuple of Tile
        Those of `done` that have no label because nothing is on them, as asked for.
    warnings : tuple of str
        Sentences for the annotator, such as memory that ran out.
    """

    done: tuple[Tile, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    device: str = "cpu"
    empty: tuple[Tile, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a warmed-up worker says of itself.

    Attributes
    ----------
    device : str
        Device that the configuration resolves to.
    devices : tuple of str
        All device names that would work, "cpu" among them.
    pid : int
        Process id of the worker.
    torch : str
        Version of torch.
    """

    device: str
    devices: tuple[str, ...]
    pid: int
    torch: str
