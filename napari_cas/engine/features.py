"""Frozen features of tiles, kept in memory up to a limit."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import psutil
import torch

from napari_cas.engine.sources import neighbours
from napari_cas.engine.tiling import window, with_halo
from napari_cas.models.smoothing import REACH

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from napari_cas.engine.sources import Image
    from napari_cas.models.pyramid import Pyramid
    from napari_cas.models.quick import QuickModel
    from napari_cas.protocol import Box, Plane

_Value = TypeVar("_Value")
_SHARE = 8


class FeatureCache:
    """Least recently used tiles go first once `limit` bytes are exceeded.

    Parameters
    ----------
    limit : int, optional
        Bytes; by default an eighth of the machine's memory, between 256 MiB and 1 GiB.
    """

    def __init__(self, limit: int | None = None) -> None:
        eighth = psutil.virtual_memory().total // 8
        self.limit = min(max(eighth, 2**28), 2**30) if limit is None else limit
        self.size = 0
        self._held: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()
        self._passing: OrderedDict[Hashable, None] = OrderedDict()
        self._tiles = 0

    def get(self, key: Hashable, kind: type[_Value]) -> _Value | None:
        """Return what is held under `key`, and mark it as used."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        if not self._tiles:
            self._passing.pop(key, None)
        value = self._held[key][0]
        return value if isinstance(value, kind) else None

    def put(self, key: Hashable, value: object, size: int) -> None:
        """Hold a value of `size` bytes, forgetting the least recently used ones for it."""
        self.discard(key)
        if self._tiles and not self._make_way(size):
            return
        if self._tiles:
            self._passing[key] = None
        self._held[key] = value, size
        self.size += size
        while self.size > self.limit and len(self._held) > 1:
            self.discard(next(iter(self._held)))

    @contextmanager
    def passing_through(self, tiles: int) -> Iterator[None]:
        """Let new values take free room and each other's place, but nobody else's.

        A huge plane's tiles are predicted once each; they must not push out what every round needs.
        Of a plane too large to be held, only so much is held as neighbouring tiles may share.

        Parameters
        ----------
        tiles : int
            How many values there will be at most.
        """
        self._tiles = tiles
        try:
            yield
        finally:
            self._tiles = 0

    def _make_way(self, size: int) -> bool:
        """Drop what passes through for a value of `size` bytes; return whether it may be held."""
        room = self.limit if self._tiles * size <= self.limit else self.limit // _SHARE
        passing = sum(self._held[key][1] for key in self._passing)
        while self._passing and (passing + size > room or self.size + size > self.limit):
            oldest = next(iter(self._passing))
            passing -= self._held[oldest][1]
            self.discard(oldest)
        return passing + size <= room and self.size + size <= self.limit

    def discard(self, key: Hashable) -> None:
        """Forget one value, if held."""
        if key in self._held:
            self.size -= self._held.pop(key)[1]
            self._passing.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self._passing.clear()
        self.size = 0


def feature_box(tile: Box, size: tuple[int, int]) -> Box:
    """Return the part of a plane whose features are kept for a tile: with what smoothing needs."""
    return with_halo(tile, REACH, size)


def tile_features(
    model: QuickModel, source: Image, plane: Plane, tile: Box, cache: FeatureCache
) -> Pyramid:
    """Return the features of a tile's :func:`feature_box`, from the cache where possible.

    The pixels read are those of the tile and a halo, on as many neighbouring planes as the model
    looks at: the image's size does not matter.
    """
    own = _plane_features(model, source, plane, tile, cache)
    around = neighbours(source, plane, model.context)
    return model.with_context(
        own, [_plane_features(model, source, other, tile, cache) for other in around]
    )


def _plane_features(
    model: QuickModel, source: Image, plane: Plane, tile: Box, cache: FeatureCache
) -> Pyramid:
    """Return the features of one plane alone."""
    key = ("features", source.name, plane, tile)
    held = cache.get(key, tuple)
    if held is not None:
        return held
    inner = feature_box(tile, source.size)
    outer = with_halo(inner, model.halo, source.size)
    device = model.mixing.device
    image = torch.from_numpy(source.read(plane, outer))[None].to(device)
    pyramid = model.features(image, window(inner, outer, model.stride))
    cache.put(key, pyramid, sum(level.numel() * level.element_size() for level in pyramid))
    return pyramid
