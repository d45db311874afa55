"""Chunks in memory: the least recently used are dropped first, unsaved ones never.

Each array has a bound of its own, and all arrays of a process have one together, so that going
through a hundred images takes no more memory than working on one.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cas.store.chunks import Key, Stamp

ARRAY_BYTES = 128 << 20
"""Default bound on the clean chunks of one array."""

PROCESS_BYTES = 256 << 20
"""Bound on the clean chunks of all arrays of this process."""

_STEP = 8 << 20
_alive: weakref.WeakSet[ChunkCache] = weakref.WeakSet()
_alive_lock = threading.Lock()
_clock = itertools.count()


class Cached(NamedTuple):
    """A chunk as it is in memory.

    Attributes
    ----------
    block : ndarray of shape (256, 256) or None
        Pixels; None if the chunk has no file, that is, all zero.
    stamp : Stamp or None
        Of the file it was read from or written to.
    """

    block: NDArray[Any] | None
    stamp: Stamp | None

    @property
    def cost(self) -> int:
        """Bytes of memory, roughly."""
        return 256 + (0 if self.block is None else self.block.nbytes)


class ChunkCache:
    """The chunks of one array in memory.

    Parameters
    ----------
    limit : int
        Bound in bytes.
    pinned : set of Key
        Chunks that must not be dropped, kept up to date by the owner.
    lock : lock
        The owner's lock; held by whoever calls the methods.
    """

    def __init__(self, limit: int, pinned: set[Key], lock: threading.RLock) -> None:
        self.bytes = 0
        self._limit = limit
        self._pinned = pinned
        self.lock = lock
        self._entries: OrderedDict[Key, Cached] = OrderedDict()
        self.used = next(_clock)
        self._checked = 0
        with _alive_lock:
            _alive.add(self)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def get(self, key: Key) -> Cached | None:
        """Return a chunk and note that it was used."""
        cached = self._entries.get(key)
        if cached is not None:
            self._entries.move_to_end(key)
        return cached

    def put(self, key: Key, cached: Cached) -> None:
        """Keep a chunk, dropping others if there are too many."""
        self.drop(key)
        self._entries[key] = cached
        self.bytes += cached.cost
        self.used = next(_clock)
        if self.bytes > self._limit:
            self.shrink(self._limit - self._limit // 8, key)
        if self.bytes > self._checked + _STEP:
            self._shrink_others()
        self._checked = min(self._checked, self.bytes)

    def drop(self, key: Key) -> None:
        """Forget a chunk, pinned or not."""
        cached = self._entries.pop(key, None)
        if cached is not None:
            self.bytes -= cached.cost

    def clean(self) -> list[Key]:
        """Return the chunks that may be dropped, least recently used first."""
        return [key for key in self._entries if key not in self._pinned]

    def shrink(self, limit: int, keep: Key | None = None) -> None:
        """Drop chunks until `limit` bytes are left, sparing `keep` and what is pinned."""
        for key in self.clean():
            if self.bytes <= limit:
                return
            if key != keep:
                self.drop(key)

    def _shrink_others(self) -> None:
        """Empty the caches unused for longest until all together are within their bound."""
        self._checked = self.bytes
        with _alive_lock:
            caches = sorted(_alive, key=lambda cache: cache.used)
        total = sum(cache.bytes for cache in caches)
        for cache in caches:
            if total <= PROCESS_BYTES:
                return
            # Never wait for another array's lock while holding one's own.
            if cache is not self and cache.lock.acquire(blocking=False):
                try:
                    total -= cache.bytes
                    cache.shrink(0)
                    total += cache.bytes
                finally:
                    cache.lock.release()
