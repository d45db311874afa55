"""One label array's chunks as files: where they are, how they are read and replaced.

A label array is a Zarr v3 array with chunks of 256 × 256 pixels of one plane, little-endian bytes
compressed by zstd, one file each. Chunks are read and written here rather than through zarr
because painting wants a tenth of zarr's latency, a typed answer to a full disk and a bound on what
a damaged header may allocate. Any Zarr v3 reader opens the same array.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numcodecs.zstd import Zstd

from napari_cas.errors import ProjectFormatError
from napari_cas.protocol import Box, Plane
from napari_cas.store.files import TEMPORARY, read_json, storing, write_bytes, write_json
from napari_cas.store.links import find_link, is_link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CHUNK = 256
"""Side of a chunk of labels, in pixels."""

Key: TypeAlias = tuple[int, ...]
"""Chunk coordinates: a plane's indices, then chunk row and column."""

_ZSTD = Zstd(level=1)
_DTYPES = ("uint8", "int32", "uint16", "uint32", "int64", "uint64")


class Stamp(NamedTuple):
    """Tells whether a chunk's file is still the one that was read."""

    inode: int
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Return the stamp of a file with this status."""
        return cls(status.st_ino, status.st_mtime_ns, status.st_size)


class DamagedChunkError(ValueError):
    """A chunk file that cannot be decoded."""


@dataclass(frozen=True)
class ChunkFiles:
    """The chunk files of one label array.

    Attributes
    ----------
    path : Path
        Directory of the Zarr array.
    shape : tuple of int
        Shape of the whole array, plane axes first, then height and width.
    dtype : numpy.dtype
        Integer type of the labels.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _own: set[Key] = field(default_factory=set, compare=False, repr=False)
    _met: set[Path] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def create(
        cls, path: Path, shape: tuple[int, ...], dtype: str, axes: str, *, durable: bool = False
    ) -> ChunkFiles:
        """Write the metadata of an empty array.

        Raises
        ------
        StorageError
            If the file system refuses.
        """
        with storing(path):
            path.mkdir(parents=True, exist_ok=True)
        write_json(path / "zarr.json", array_metadata(shape, dtype, axes), durable=durable)
        return cls(path, tuple(shape), np.dtype(dtype).newbyteorder("<"))

    @classmethod
    def open(cls, path: Path) -> ChunkFiles:
        """Read and check the metadata of an existing array.

        Raises
        ------
        ProjectFormatError
            If the array is missing, damaged or laid out differently.
        """
        meta = read_json(path / "zarr.json")
        shape, dtype = meta.get("shape"), meta.get("data_type")
        if (
            not isinstance(shape, list)
            or len(shape) < 2
            or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape)
            or dtype not in _DTYPES
        ):
            raise ProjectFormatError(
                f"{path / 'zarr.json'} is not a label array",
                expected=f"a shape of positive integers and a data_type of {', '.join(_DTYPES)}",
                got=f"shape {shape!r}, data_type {dtype!r}",
            )
        wanted = array_metadata(tuple(shape), dtype, "")
        for name in ("zarr_format", "node_type", "chunk_grid", "chunk_key_encoding", "codecs"):
            if json.dumps(meta.get(name), sort_keys=True) != json.dumps(
                wanted[name], sort_keys=True
            ):
                raise ProjectFormatError(
                    f"{path / 'zarr.json'} is laid out differently: {name}",
                    expected=json.dumps(wanted[name]),
                    got=json.dumps(meta.get(name))[:200],
                )
        return cls(path, tuple(shape), np.dtype(dtype).newbyteorder("<"))

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return (*self.shape[:-2], *(math.ceil(n / CHUNK) for n in self.shape[-2:]))

    def file(self, key: Key) -> Path:
        """Return the path of a chunk's file."""
        return self.path.joinpath("c", *map(str, key))

    def box(self, key: Key) -> tuple[Plane, Box]:
        """Return a chunk's plane and its rectangle of pixels, clipped to the image."""
        row, column = key[-2] * CHUNK, key[-1] * CHUNK
        box = Box(row, column, row + CHUNK, column + CHUNK)
        return key[:-2], box.clip(*self.shape[-2:])

    def link(self, key: Key) -> Path | None:
        """Return the link in the place of a folder of a chunk's file, None if there is none."""
        if key[:-1] in self._own:
            return None
        found = find_link(self.path, "c", *map(str, key[:-1]))
        if found is None and self.file(key).parent.is_dir():
            self._own.add(key[:-1])
        return found

    def links(self) -> list[Path]:
        """Return the links in the place of folders: the outermost two, and what was met deeper."""
        top = self.path / "c"
        if is_link(top):
            return [top]
        met = {link for link in self._met if is_link(link)}
        with contextlib.suppress(OSError), os.scandir(top) as entries:
            found = [Path(entry.path) for entry in entries if entry.name.isdigit()]
            met |= {path for path in found if is_link(path)}
        return sorted(met)

    def stamp(self, key: Key) -> Stamp | None:
        """Return the stamp of a chunk's file; None if there is none."""
        try:
            return Stamp.of(self.file(key).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, key: Key) -> tuple[NDArray[Any], Stamp] | None:
        """Return a chunk's pixels, shape (256, 256), and its stamp; None if it has no file.

        Raises
        ------
        DamagedChunkError
            If the file is not a chunk of this array.
        """
        if (link := self.link(key)) is not None:
            raise DamagedChunkError(f"{link} is a symbolic link")
        for attempt in range(5):
            try:
                with self.file(key).open("rb") as file:
                    stamp = Stamp.of(os.fstat(file.fileno()))
                    data = file.read(2 * CHUNK * CHUNK * self.dtype.itemsize + 1024)
                return decode(data, self.dtype), stamp
            except (FileNotFoundError, NotADirectoryError):
                return None
            except IsADirectoryError as error:
                raise DamagedChunkError("a folder") from error
            except OSError:
                # Being replaced at this moment, on Windows or a network file system.
                if attempt == 4:
                    raise
                time.sleep(0.02)
        return None

    def write(self, key: Key, block: NDArray[Any], *, durable: bool = False) -> Stamp:
        """Replace a chunk's file by `block`, shape (256, 256), in one step.

        A link in the place of one of its folders is set aside: nothing is written through it.

        Raises
        ------
        OSError
            If the file system refuses; the old chunk is then untouched.
        """
        path = self.file(key)
        data = encode(block, self.dtype)
        if self.link(key) is not None:
            self.set_aside(key)
        if (link := self.link(key)) is not None:
            raise OSError(errno.ELOOP, "A symbolic link is in the way", str(link))
        try:
            return Stamp.of(write_bytes(path, data, durable=durable))
        except FileNotFoundError:
            if not self.path.is_dir():
                raise  # the project was moved: strokes in a new folder of that name would be lost
            path.parent.mkdir(parents=True, exist_ok=True)
            return Stamp.of(write_bytes(path, data, durable=durable))

    def delete(self, key: Key) -> None:
        """Remove a chunk's file, if there is one."""
        if self.link(key) is not None:
            return
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.file(key).unlink()

    def set_aside(self, key: Key) -> None:
        """Keep a damaged chunk's file, or a link, under another name: nothing overwrites it."""
        path = self.link(key) or self.file(key)
        with contextlib.suppress(OSError):
            path.rename(path.with_name(f"{path.name}.damaged-{int(time.time())}"))

    def keys(self, plane: Plane = (), *, clean: bool = False) -> Iterator[Key]:
        """Yield the coordinates of all chunks that have a file.

        Parameters
        ----------
        plane : tuple of int
            Only those of this plane; (): of all.
        clean : bool
            Whether to remove what an interrupted writer left behind (older than a minute).
        """
        parts = ("c", *map(str, plane))
        if find_link(self.path, *parts) is None:
            yield from self._walk(str(self.path.joinpath(*parts)), tuple(plane), clean)

    def _walk(self, folder: str, prefix: Key, clean: bool) -> Iterator[Key]:
        grid, depth = self.grid, len(prefix)
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in found:
            name = entry.name
            if not (name.isascii() and name.isdigit() and str(int(name)) == name):
                if clean and name.startswith(TEMPORARY):
                    _remove_stale(entry)
                continue
            if int(name) >= grid[depth]:
                continue
            if entry.is_symlink() and depth + 1 < len(grid):
                self._met.add(Path(entry.path))
                continue
            key = (*prefix, int(name))
            if len(key) == len(grid):
                yield key
            else:
                yield from self._walk(entry.path, key, clean)


def _remove_stale(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):
        if time.time() - entry.stat().st_mtime > 60:
            Path(entry.path).unlink()


def array_metadata(shape: tuple[int, ...], dtype: str, axes: str) -> dict[str, Any]:
    """Return the Zarr v3 metadata of a label array (Zarr core specification 3.0)."""
    chunk = [1] * (len(shape) - 2) + [CHUNK, CHUNK]
    bytes_codec: dict[str, Any] = {"name": "bytes"}
    if np.dtype(dtype).itemsize > 1:
        bytes_codec["configuration"] = {"endian": "little"}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [
            bytes_codec,
            {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
        ],
        "attributes": {},
        "dimension_names": list(axes),
        "storage_transformers": [],
    }


def encode(block: NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    """Return the bytes of a chunk file."""
    return bytes(_ZSTD.encode(np.ascontiguousarray(block, dtype=dtype)))


def decode(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the pixels in the bytes of a chunk file, shape (256, 256).

    Raises
    ------
    DamagedChunkError
        If they are not exactly one chunk; checked before anything is allocated.
    """
    # A frame that does not say its size could unpack to any size (RFC 8878, 3.1.1.1.1).
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd" or not data[4] & 0b11100000:
        raise DamagedChunkError(f"not a zstd frame of known size ({len(data)} bytes)")
    block = np.empty((CHUNK, CHUNK), dtype)
    try:
        decoded = _ZSTD.decode(data, block.view(np.uint8))
    except (RuntimeError, ValueError) as error:
        raise DamagedChunkError(str(error)) from error
    if np.asarray(decoded).nbytes != block.nbytes:
        raise DamagedChunkError(f"{np.asarray(decoded).nbytes} bytes instead of {block.nbytes}")
    return block
