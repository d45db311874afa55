"""Labels that napari paints into and that are on disk when the brush lifts."""

from __future__ import annotations

import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import ProjectError, StorageError
from napari_cas.store.cache import ARRAY_BYTES, Cached, ChunkCache
from napari_cas.store.chunks import CHUNK, ChunkFiles, DamagedChunkError, Key
from napari_cas.store.files import storage_error
from napari_cas.store.grid import by_chunk, grid_keys, keys_within, overlap
from napari_cas.store.indexing import IndexedArray, Points, Ranges

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cas.protocol import Box, Plane

_log = logging.getLogger(__name__)


class LabelArray(IndexedArray):
    """A label array on disk with a write-back cache of its chunks in memory.

    Reading and painting touch only the chunks concerned. Painted chunks are *dirty* until
    :meth:`flush` has written them; they are never dropped before. Chunks that become all zero are
    deleted, so that an array is as large on disk as what is painted.

    Parameters
    ----------
    files : ChunkFiles
        Where the chunks are.
    writeable : bool
        Whether this process may paint; every array has at most one writing process.
    follow : bool
        Whether another process may change the files, so that a cached chunk is compared with its
        file (one ``stat``) before it is used again.
    cache_bytes : int
        Bound on the memory of clean chunks. More dirty memory than this is flushed by itself.

    Attributes
    ----------
    shape : tuple of int
        Plane axes, then height and width.
    dtype : numpy.dtype
        Integer type.
    problems : list of str
        Damaged chunks met so far; they read as unpainted and are kept aside when painted over.
    """

    def __init__(
        self,
        files: ChunkFiles,
        *,
        writeable: bool = False,
        follow: bool = True,
        cache_bytes: int = ARRAY_BYTES,
    ) -> None:
        self.files = files
        self.shape = files.shape
        self.dtype = files.dtype
        self.problems: list[str] = []
        self._writeable = writeable
        self._follow = follow
        self._limit = cache_bytes
        self._lock = threading.RLock()
        self._dirty: set[Key] = set()
        self._cache = ChunkCache(cache_bytes, self._dirty, self._lock)
        self._damaged: set[Key] = set()
        self._known: set[Key] | None = None
        self._top: dict[Plane, int] = {}

    @classmethod
    def open(cls, path: Path, *, writeable: bool = False, follow: bool = True) -> LabelArray:
        """Open the array at `path`.

        Raises
        ------
        ProjectFormatError
            If there is no label array.
        """
        return cls(ChunkFiles.open(path), writeable=writeable, follow=follow)

    def __repr__(self) -> str:
        return f"<LabelArray {self.files.path} {self.shape} {self.dtype}>"

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        return (*(1 for _ in self.shape[:-2]), CHUNK, CHUNK)

    @property
    def writeable(self) -> bool:
        """Whether painting is possible."""
        return self._writeable

    def freeze(self) -> None:
        """Refuse painting from now on; what is dirty can still be flushed."""
        self._writeable = False

    @property
    def dirty(self) -> bool:
        """Whether something painted is not on disk yet."""
        return bool(self._dirty)

    # Boxes and points -------------------------------------------------------------------------

    def read_box(self, ranges: Ranges, *, fresh: bool = True) -> NDArray[Any]:
        """Return the elements at all combinations of `ranges`.

        Parameters
        ----------
        ranges : tuple of range
            Ascending, one per axis.
        fresh : bool
            Whether to check that cached chunks are still those on disk.
        """
        out = np.zeros([len(r) for r in ranges], self.dtype)
        with self._lock:
            for key in self._touched(ranges):
                block = self._load(key, fresh=fresh)
                if block is not None:
                    inside, outside = overlap(key, ranges)
                    out[outside] = block[inside]
        return out

    def write_box(self, ranges: Ranges, values: NDArray[Any]) -> None:
        """Set the elements at all combinations of `ranges`; only what differs becomes dirty."""
        self._check_writeable()
        with self._lock:
            for key in grid_keys(ranges):
                inside, outside = overlap(key, ranges)
                part = values[outside]
                block = self._load(key)
                if block is None:
                    if not part.any():
                        continue
                    block = np.zeros((CHUNK, CHUNK), self.dtype)
                elif np.array_equal(block[inside], part):
                    continue
                block[inside] = part
                self._mark(key, block, part)

    def read_points(self, points: Points, *, fresh: bool = True) -> NDArray[Any]:
        """Return the elements at `points`; for `fresh` see :meth:`read_box`."""
        out = np.zeros(points[0].shape, self.dtype)
        with self._lock:
            for key, where, rows, columns in by_chunk(points):
                block = self._load(key, fresh=fresh)
                if block is not None:
                    out[where] = block[rows, columns]
        return out

    def write_points(self, points: Points, values: NDArray[Any]) -> None:
        """Set the elements at `points`; the last of equal points wins."""
        self._check_writeable()
        with self._lock:
            for key, where, rows, columns in by_chunk(points):
                part = values[where]
                block = self._load(key)
                if block is None:
                    block = np.zeros((CHUNK, CHUNK), self.dtype)
                elif np.array_equal(block[rows, columns], part):
                    continue
                block[rows, columns] = part
                self._mark(key, block, part)

    def _check_writeable(self) -> None:
        if not self._writeable:
            raise ProjectError(
                f"{self.files.path.parent.name} cannot be changed here",
                todo="The project is open read-only, or another process writes this array.",
            )

    # Chunks -----------------------------------------------------------------------------------

    def _touched(self, ranges: Ranges) -> Iterable[Key]:
        """Return the chunks that `ranges` touch, without those known to be empty."""
        return grid_keys(ranges) if self._follow else keys_within(self._index(), ranges)

    def _index(self) -> set[Key]:
        """Return the chunks that exist on disk or in memory (only without other writers)."""
        if self._known is None:
            self._known = set(self.files.keys(clean=self._writeable)) | self._dirty
        return self._known

    def _load(self, key: Key, *, fresh: bool = True) -> NDArray[Any] | None:
        """Return a chunk's pixels, to be changed only by :meth:`write_box`; None if all zero."""
        cached = self._cache.get(key)
        if cached is not None:
            trusted = not (self._follow and fresh) or key in self._dirty
            if trusted or self.files.stamp(key) == cached.stamp:
                return cached.block
            self._cache.drop(key)
        if not self._follow and key not in self._index():
            return None
        try:
            found = self.files.read(key)
        except DamagedChunkError as error:
            self._note_damage(key, error)
            found = None
        self._cache.put(key, Cached(*found) if found else Cached(None, None))
        return found[0] if found else None

    def _note_damage(self, key: Key, error: DamagedChunkError) -> None:
        if key not in self._damaged:
            self._damaged.add(key)
            self.problems.append(f"{self.files.file(key)} is damaged ({error}); read as unpainted.")
            _log.warning(self.problems[-1])

    def _mark(self, key: Key, block: NDArray[Any], part: NDArray[Any]) -> None:
        self._dirty.add(key)
        cached = self._cache.get(key)
        if cached is None or cached.block is not block:
            self._cache.put(key, Cached(block, None))
        if self._known is not None:
            self._known.add(key)
        plane = key[:-2]
        if plane in self._top:
            self._top[plane] = max(self._top[plane], int(part.max()))
        self._spill()

    def _spill(self) -> None:
        """Flush when much is dirty, so that filling a huge plane stays within memory."""
        if len(self._dirty) * CHUNK * CHUNK * self.dtype.itemsize > self._limit:
            try:
                self.flush()
            except StorageError as error:
                _log.warning("%s", error)  # kept in memory; the caller's own flush says it aloud

    # To and from disk -------------------------------------------------------------------------

    def flush(self) -> list[tuple[Plane, Box]]:
        """Write all dirty chunks, each in one step.

        Returns
        -------
        list of (plane, box)
            What was written.

        Raises
        ------
        StorageError
            If the file system refuses. What could not be written stays dirty and in memory, and
            the next flush tries again.
        """
        written: list[tuple[Plane, Box]] = []
        failed: tuple[OSError, Path] | None = None
        with self._lock:
            # Deletions first: on a full disk they make room for the rest.
            empty = {key for key in self._dirty if not self._block(key).any()}
            for key in [*sorted(empty), *sorted(self._dirty - empty)]:
                try:
                    self._store(key, empty=key in empty)
                except OSError as error:
                    failed = failed or (error, self.files.file(key))
                else:
                    self._dirty.discard(key)
                    written.append(self.files.box(key))
        if failed is not None:
            raise storage_error(*failed, kept=True) from failed[0]
        return written

    def _block(self, key: Key) -> NDArray[Any]:
        cached = self._cache.get(key)
        if cached is None or cached.block is None:  # pragma: no cover - dirty chunks are kept
            raise AssertionError(key)
        return cached.block

    def _store(self, key: Key, *, empty: bool) -> None:
        if key in self._damaged:
            self.files.set_aside(key)
            self._damaged.discard(key)
        if empty:
            self.files.delete(key)
            self._cache.drop(key)
            if self._known is not None:
                self._known.discard(key)
        else:
            block = self._block(key)
            stamp = self.files.write(key, block)
            self._cache.put(key, Cached(block, stamp))

    def invalidate(self, plane: Plane | None = None, box: Box | None = None) -> None:
        """Forget clean cached chunks, because another process wrote.

        Parameters
        ----------
        plane : tuple of int, optional
            Only of this plane; None: of all.
        box : Box, optional
            Only those touching this rectangle; None: all.
        """
        with self._lock:
            for key in self._cache.clean():
                if plane is not None and key[:-2] != tuple(plane):
                    continue
                if box is not None and not box.touches(self.files.box(key)[1]):
                    continue
                self._cache.drop(key)
            if not self._dirty:
                self._known = None
            self._top.clear()

    # What is painted --------------------------------------------------------------------------

    def _painted_keys(self, plane: Plane = ()) -> set[Key]:
        """Return the chunks that hold a label, those of one plane or all."""
        with self._lock:
            known = self.files.keys(plane, clean=self._writeable) if self._follow else self._index()
            depth = len(plane)
            keys = {key for key in (*known, *self._dirty) if key[:depth] == plane}
            return {key for key in keys if key not in self._dirty or self._block(key).any()}

    def painted_chunks(self) -> list[tuple[Plane, Box]]:
        """Return plane and rectangle of every chunk that holds a label, in order.

        Found from the names of the files and the dirty chunks; no pixel is read.
        """
        return [self.files.box(key) for key in sorted(self._painted_keys())]

    def ids(self, plane: Plane) -> dict[int, int]:
        """Return the labels on one plane and their numbers of pixels, 0 excluded.

        Reads the painted chunks of that plane only.
        """
        counts: dict[int, int] = {}
        with self._lock:
            for key in sorted(self._painted_keys(tuple(plane))):
                block = self._load(key)
                if block is not None:
                    values, numbers = np.unique(block, return_counts=True)
                    for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
                        counts[value] = counts.get(value, 0) + number
        counts.pop(0, None)
        return dict(sorted(counts.items()))

    def new_id(self, plane: Plane) -> int:
        """Return the next label that is not in use on this plane.

        The highest so far is remembered, so only the first call reads the plane's painted chunks.
        """
        plane = tuple(plane)
        with self._lock:
            if self._follow or plane not in self._top:
                self._top[plane] = max(self.ids(plane), default=0)
            if self._top[plane] < np.iinfo(self.dtype).max:
                return self._top[plane] + 1
            used = self.ids(plane)
            return next(i for i in itertools.count(1) if i not in used)
