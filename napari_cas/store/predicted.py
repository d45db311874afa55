"""Which tiles are already predicted, so that predicting everything can be taken up again.

One small file per image: its first line names the model (with the digest of its weights, because a
name may be reused), each further line a tile done with it, so that noting a tile costs the same
after ten as after ten thousand. More entries of a line say whether its probabilities are written,
too, with which settings the labels were made, where not with the usual ones, and where on the tile
the network hesitates most. It is kept apart from the pixels because a tile without any label leaves
no chunk behind, and an older model's would.
"""

from __future__ import annotations

import contextlib
import json
from math import isfinite
from typing import TYPE_CHECKING, Any

from napari_cas.errors import ProjectError
from napari_cas.protocol import Box, Doubt, Plane
from napari_cas.store.files import read_file, storing, write_bytes
from napari_cas.store.links import is_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
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
        head, lines = self._read()
        if head != self._head(checkpoint):
            return done
        for tile, more in lines:
            if settings != "".join(n for n in more if isinstance(n, str) and n != _SOFT):
                done.discard(tile)  # made anew since
            elif _SOFT in more or not probabilities:
                done.add(tile)
        return done

    def doubts(self) -> list[tuple[Plane, Doubt]]:
        """Return where the newest model used on the image hesitates most, some places a tile."""
        found: dict[tuple[Plane, Box], list[Doubt]] = {}
        for tile, more in self._read()[1]:
            found[tile] = []
            for note in more:
                with contextlib.suppress(TypeError, ValueError, KeyError, OverflowError):
                    for value, y, x in note["doubts"]:  # others are text
                        if isfinite(value):
                            found[tile].append(Doubt(float(value), int(y), int(x)))
        return [(plane, doubt) for (plane, _), doubts in found.items() for doubt in doubts]

    def _read(self) -> tuple[str, Iterator[tuple[tuple[Plane, Box], list[Any]]]]:
        """Return the first line and, one by one, the tiles of the others with what is noted."""
        try:
            head, *lines = read_file(self._path).decode().split("\n")
        except (OSError, UnicodeDecodeError):
            return "", iter(())
        return head, _understood(lines)

    def add(
        self,
        checkpoint: str,
        tiles: Iterable[tuple[Plane, Box]],
        *,
        probabilities: bool = False,
        settings: str = "",
        doubts: Sequence[Doubt] = (),
    ) -> None:
        """Note tiles as done, forgetting those of another model; `doubts` are on the last."""
        if self._mode != "worker":
            raise ProjectError("Only the worker predicts", got=f"mode {self._mode!r}")
        head = self._head(checkpoint)
        # Each line begins with its line break, so that one torn by a crash spoils no other.
        more = [_SOFT] * probabilities + [settings] * bool(settings)
        rows: list[list[Any]] = [[list(plane), list(box), *more] for plane, box in tiles]
        if rows and doubts:
            rows[-1].append({"doubts": [list(doubt) for doubt in doubts]})
        lines = "".join(f"\n{json.dumps(row)}" for row in rows).encode()
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


def _understood(lines: Iterable[str]) -> Iterator[tuple[tuple[Plane, Box], list[Any]]]:
    """Yield the tiles of lines that are not damaged, with what is noted of each."""
    for line in lines:
        with contextlib.suppress(TypeError, ValueError, OverflowError, RecursionError):
            plane, box, *more = json.loads(line)
            yield (tuple(int(i) for i in plane), Box(*(int(i) for i in box))), more
