"""Which tiles are already predicted, so that predicting everything can be taken up again.

One small JSON per image names the model (with the digest of its weights, because a name may be
reused) and the tiles done with it. It is kept apart from the pixels because a tile without any
label leaves no chunk behind, and an older model's tiles would.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from napari_cas.errors import ProjectError, ProjectFormatError
from napari_cas.protocol import Box, Plane
from napari_cas.store.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path


class Predicted:
    """The tiles of one image that are predicted with the newest model used on it."""

    def __init__(self, path: Path, mode: str, digest: Callable[[str], str]) -> None:
        self._path, self._mode, self._digest = path, mode, digest

    def _key(self, checkpoint: str) -> str:
        return f"{checkpoint}@{self._digest(checkpoint)}"

    def done(self, checkpoint: str) -> set[tuple[Plane, Box]]:
        """Return planes and boxes done with this model; a damaged note counts as nothing done."""
        if not self._path.exists():
            return set()
        with contextlib.suppress(ProjectFormatError, TypeError, ValueError, KeyError):
            value = read_json(self._path)
            if value["model"] == self._key(checkpoint):
                return {_tile(tile) for tile in value["tiles"]}
        return set()

    def add(self, checkpoint: str, tiles: Iterable[tuple[Plane, Box]]) -> None:
        """Note tiles as done, forgetting those of another model."""
        if self._mode != "worker":
            raise ProjectError("Only the worker predicts", got=f"mode {self._mode!r}")
        done = self.done(checkpoint) | {(tuple(plane), Box(*box)) for plane, box in tiles}
        listed = [[list(plane), list(box)] for plane, box in sorted(done)]
        write_json(self._path, {"model": self._key(checkpoint), "tiles": listed})

    def forget(self) -> None:
        """Note that nothing is predicted."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


def _tile(value: Sequence[Sequence[int]]) -> tuple[Plane, Box]:
    plane, box = value
    return tuple(int(i) for i in plane), Box(*(int(i) for i in box))
