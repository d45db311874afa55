"""What the annotator is doing: evented state and use-cases; neither Qt nor torch."""

from __future__ import annotations

from napari_cas.session.events import Message, NewImage, Progress, State
from napari_cas.session.session import Session

__all__ = ["Message", "NewImage", "Progress", "Session", "State"]
