"""Zarr in local folders of which only regular files are read.

A data set that somebody sends may hold a link to a device or a pipe in the place of a chunk, and
reading that may never end.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.storage import LocalStore

from napari_cas.store.files import refuse_devices

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype


class RegularFiles(LocalStore):
    """A local folder; what is no regular file raises OSError when it is read."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what is under a key, None if there is nothing."""
        await asyncio.to_thread(refuse_devices, self.root / key)
        return await super().get(key, prototype, byte_range)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what is under a key, None if there is nothing."""
        refuse_devices(self.root / key)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)


def store_at(source: str) -> str | RegularFiles:
    """Return what zarr should open, to read only: the folder `source`, or a URL as it is."""
    return source if "://" in source else RegularFiles(Path(source), read_only=True)
