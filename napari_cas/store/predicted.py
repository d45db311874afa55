"""Which tiles are already predicted, so that predicting everything can be taken up again.

One small file per image: its first line names the model (with the digest of its weights, because a
name may be reused), each further line a tile done with it, so that noting a tile costs the same
after ten as after ten thousand. More entries of a line say whether its probabilities are written,
too, and with which settings the labels were made, where not with the usual ones. It is kept apart
from the pixels because a tile without any label leaves no chunk behind, and an older model's would.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from napari_cas.errors import ProjectError
from napari_cas.protocol import Box, Plane
from napari_cas.store.files import read_file, storing, write_bytes
from napari_cas.store.links import is_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_SOFT = "probabilities"


class Predicted:
    """The tiles of one image that are predicted with the newest model used on it."""

    def __init__(self, path: Path, mode: str, digest: Callable[[str], str]) -> None:
        self._path, self._mode, self._digest = path, mode, digest

    def done(
        self, checkpoint: str, *, probabilities: bool = False, settings: str = ""
    ) -> set[tuple[Plane, Box]]:
        """Return planes and boxes done with this model; damaged lines count as not done.

        Parameters
        ----------
        checkpoint : str
            The model's name.
        probabilities : bool
            Whether only those count of which the probabilities are written, too.
        settings : str
            With which settings they must have been made.
        """
        done: set[tuple[Plane, Box]] = set()
        try:
            head, *lines = read_file(self._path).decode().split("\n")
        except (OSError, UnicodeDecodeError):
            return done
        if head != self._head(checkpoint):
            return done
        for line in lines:
            with contextlib.suppress(TypeError, ValueError, OverflowError, RecursionError):
                plane, box, *more = json.loads(line)
                tile = tuple(int(i) for i in plane), Box(*(int(i) for i in box))
                if settings != "".join(note for note in more if note != _SOFT):
                    done.discard(tile)  # made anew since
                elif _SOFT in more or not probabilities:
                    done.add(tile)
        return done

    def add(
        self,
        checkpoint: str,
        tiles: Iterable[tuple[Plane, Box]],
        *,
        probabilities: bool = False,
        settings: str = "",
    ) -> None:
        """Note tiles as done, forgetting those of another model."""
        if self._mode != "worker":
            raise ProjectError("Only the worker predicts", got=f"mode {self._mode!r}")
        head = self._head(checkpoint)
        # Each line begins with its line break, so that one torn by a crash spoils no other.
        more = [_SOFT] * probabilities + [settings] * bool(settings)
        lines = "".join(f"\n{json.dumps([list(p), list(b), *more])}" for p, b in tiles).encode()
        with storing(self._path):
            if not is_link(self._path) and self._first() == head:
                with self._path.open("ab") as file:
                    file.write(lines)
            else:
                write_bytes(self._path, head.encode() + lines)

    def _head(self, checkpoint: str) -> str:
        return json.dumps({"model": checkpoint, "sha256": self._digest(checkpoint)})

    def _first(self) -> str | None:
        try:
            with self._path.open(encoding="utf-8") as file:
                return file.readline(4096).rstrip("\n")
        except (OSError, UnicodeDecodeError):
            return None

    def forget(self) -> None:
        """Note that nothing is predicted."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
