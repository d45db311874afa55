"""Walking over the pixels of a batch in pieces that stay in the cache."""

from __future__ import annotations

from threading import local
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

_CACHED_VALUES = 1 << 19
"""Values of one working buffer on the CPU, 2 MB of float32. Smaller ones pay for more calls, larger
ones leave the cache."""
_DEVICE_VALUES = 1 << 24
"""The same on accelerators, where launches cost more than memory traffic saves."""


class Chunk(NamedTuple):
    """Some pixels: of one batch item, or all pixels of several items."""

    first_item: int
    end_item: int
    first_pixel: int
    end_pixel: int

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return (self.end_item - self.first_item) * (self.end_pixel - self.first_pixel)


def chunks(logits: Tensor) -> Iterator[Chunk]:
    """Cut the pixels of ``logits`` (B, M, P) into chunks of about one cache-sized buffer."""
    items, channels, pixels = logits.shape
    values = _CACHED_VALUES if logits.device.type == "cpu" else _DEVICE_VALUES
    size = max(values // channels, 256)
    if pixels > size:
        # An odd multiple of 16: rows a power of two apart would all fall into the same cache sets.
        step = -(-pixels // -(-pixels // size)) // 32 * 32 + 16
        for item in range(items):
            for first in range(0, pixels, step):
                yield Chunk(item, item + 1, first, min(first + step, pixels))
    elif pixels:
        step = size // pixels
        for item in range(0, items, step):
            yield Chunk(item, min(item + step, items), 0, pixels)


def columns(values: Tensor, chunk: Chunk) -> Tensor:
    """Return ``values`` (B, M, P) of a chunk as (M, n), as a view where there is one."""
    part = values[chunk.first_item : chunk.end_item, :, chunk.first_pixel : chunk.end_pixel]
    if len(part) == 1:
        return part[0]
    return part.transpose(0, 1).reshape(part.shape[1], -1)


def window(values: Tensor, chunk: Chunk) -> Tensor | None:
    """Return the part of ``values`` (B, M, P) that is a chunk as (M, n), if it has one item."""
    part = values[chunk.first_item : chunk.end_item, :, chunk.first_pixel : chunk.end_pixel]
    return part[0] if len(part) == 1 else None


def put_columns(values: Tensor, chunk: Chunk, part: Tensor) -> None:
    """Write (M, n) back to where :func:`columns` read it."""
    into = values[chunk.first_item : chunk.end_item, :, chunk.first_pixel : chunk.end_pixel]
    into.copy_(part.view(part.shape[0], len(into), -1).transpose(0, 1))


class Buffers(local):
    """Memory that every chunk of a walk reuses, since fresh pages cost more than the arithmetic.

    Each thread sees its own.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, like: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return uninitialised contiguous memory of ``shape`` (rows, columns) next to ``like``."""
        size = shape[0] * shape[1]
        held = self._held.get((name, dtype))
        if held is None or held.numel() < size:
            # What is made in inference mode could not be written to outside.
            with torch.inference_mode(False):
                held = torch.empty(size, dtype=dtype, device=like.device)
            self._held[name, dtype] = held
        return held[:size].view(shape[0], shape[1])


_KEPT = Buffers()


def buffers_for(device: torch.device) -> Buffers:
    """Return memory to work in: on the CPU that of the walk before, a few cached buffers.

    Accelerators have allocators of their own that keep what is given back.
    """
    return _KEPT if device.type == "cpu" else Buffers()
