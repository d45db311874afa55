"""A project: one directory with images, what is painted on them, predictions and models."""

from __future__ import annotations

import contextlib
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from napari_cas.errors import CASError, ProjectError, StorageError
from napari_cas.store.files import (
    check_name,
    make_group,
    reading,
    safe_name,
    storing,
    temporary,
    write_group,
)
from napari_cas.store.image import ImageEntry
from napari_cas.store.intake import Source, as_array, write_image
from napari_cas.store.levels import add_labels, open_levels
from napari_cas.store.locking import WriteLock
from napari_cas.store.replacing import recover_directories
from napari_cas.store.root import (
    FORMAT_VERSION,
    Mode,
    ProjectRoot,
    check_format,
    local_path,
    unmake,
)
from napari_cas.store.sampling import sample_intensity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType


_LOCK = ".napari-cas.lock"


class Project(ProjectRoot):
    """One directory, readable by any OME-Zarr 0.5 tool.

    Use :meth:`create` or :meth:`open`. Exactly one process has a project open as "r+" and writes
    regions, corrections and state; exactly one worker writes predictions and models.

    Attributes
    ----------
    path : Path
        The directory.
    mode : {"r", "r+", "worker"}
        How it was opened.
    naming : Naming
        Names of the labels of predictions; change them by :meth:`set_names`.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with Project.create(Path(tempfile.mkdtemp()) / "cells.zarr") as project:
    ...     image = project.add_image("cells", np.arange(64).reshape(8, 8), "yx")
    ...     image.regions[2:4, 2:4] = image.regions.new_id(())
    ...     len(image.flush())
    1
    """

    def __init__(self, path: Path, mode: Mode, lock: WriteLock | None) -> None:
        super().__init__(path, mode, lock)
        self._entries: dict[str, ImageEntry] = {}
        self._new_folder: bool | None = None
        """Whether the project was made in a folder of its own; None: it was there."""
        self._load()

    # Opening and closing ----------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | Path) -> Self:
        """Make a new project and open it for writing.

        Raises
        ------
        ProjectError
            If something is there already, or `path` is a URL.
        StorageError
            If the file system refuses.
        """
        path = local_path(path)
        with storing(path):
            new = not path.exists()
            # A lock alone was left by a disk that was too full for more.
            if not new and (not path.is_dir() or any(p.name != _LOCK for p in path.iterdir())):
                raise ProjectError(
                    f"{path} cannot become a project",
                    expected="a new or empty directory",
                    got="a file" if path.is_file() else "a directory with files",
                    todo="Open it as a project or choose another name.",
                )
            path.mkdir(parents=True, exist_ok=True)
        lock: WriteLock | None = None
        try:
            lock = WriteLock(path / _LOCK)
            for part in ("images", "models"):
                make_group(path / part, {})
            write_group(path, {"napari-cas": {"format": FORMAT_VERSION, "images": []}})
            project = cls(path, "r+", lock)
        except BaseException:
            unmake(path, lock, folder=new)
            raise
        project._new_folder = new
        return project

    @classmethod
    def open(cls, path: str | Path, mode: Mode = "r+") -> Self:
        """Open a project.

        Parameters
        ----------
        path : str or Path
            Its directory.
        mode : {"r+", "r", "worker"}
            "r+" for the one viewer that paints, "r" to look at it, "worker" for the process that
            trains and predicts while a viewer may have it open.

        Raises
        ------
        ProjectError
            If `path` is a URL.
        ProjectFormatError
            If there is no project, or one of a newer version.
        ProjectLockedError
            If "r+" is asked for and another process has it.
        StorageError
            If "r+" is asked for and the directory cannot be written.
        """
        path = local_path(path)
        check_format(path)
        if mode not in ("r", "r+", "worker"):
            raise ProjectError("Unknown mode", expected="'r', 'r+' or 'worker'", got=repr(mode))
        lock = WriteLock(path / _LOCK) if mode == "r+" else None
        try:
            if mode == "r+":
                recover_directories(path / "models")
                recover_directories(path / "images", age=0)
            return cls(path, mode, lock)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    def _load(self) -> None:
        """Read the list of images; outside the worker also open each, to know what is damaged."""
        self._order = self._listed()
        if self.mode != "worker":
            for name in self._order:
                with contextlib.suppress(CASError):
                    self.image(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Project {self.path} {self.mode!r}, {len(self._order)} images>"

    def flush(self) -> None:
        """Write everything painted to disk.

        Raises
        ------
        StorageError
            If the file system refuses part of it; that part stays in memory, the rest is written.
        """
        failed: StorageError | None = None
        for entry in tuple(self._entries.values()):  # others come from a thread that copies
            try:
                entry.flush()
            except StorageError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Write everything to disk and give the lock back; does nothing the second time.

        Raises
        ------
        StorageError
            If something painted could not be written; the project then stays open.
        """
        self.flush()
        if (lock := self._freeze()) is not None:
            lock.release()

    def discard(self) -> None:
        """Close the project without saving; one that :meth:`create` has made is removed.

        Its folder stays where it was there before, or where somebody has put anything else.
        """
        lock = self._freeze()
        if lock is not None and self._new_folder is not None:
            unmake(self.path, lock, folder=self._new_folder)
        elif lock is not None:
            lock.release()

    def _freeze(self) -> WriteLock | None:
        """Let nothing be painted any more, and return the lock, once, to be released."""
        with self._own:  # what a thread brings is in the project, or comes too late
            lock, self._lock = self._lock, None
        for entry in tuple(self._entries.values()):
            entry.close()
        return lock

    @property
    def problems(self) -> tuple[str, ...]:
        """What is damaged or missing, a sentence each, naming the file."""
        broken = [f"Image {name!r}: {error}" for name, error in self.damaged.items()]
        chunks = [text for entry in tuple(self._entries.values()) for text in entry.problems]
        return (*self._notes, *self._linked_models(), *broken, *chunks)

    # Images -----------------------------------------------------------------------------------

    def image(self, name: str) -> ImageEntry:
        """Return an image by name.

        Raises
        ------
        ProjectError
            If there is none.
        ProjectFormatError
            If it is damaged.
        """
        if name in self._entries:
            return self._entries[name]
        folder = self.path / "images" / check_name(name, "an image")
        if name not in self._order and not folder.is_dir():
            raise ProjectError(
                f"No image {name!r} in {self.path}", expected=", ".join(self.images) or "none yet"
            )
        try:
            with reading(folder):
                entry = ImageEntry(folder, self.mode, self.model_digest, self.naming)
        except CASError as error:
            self._broken[name] = error
            raise
        self._broken.pop(name, None)
        if name not in self._order:
            self._order.append(name)
        # Of two threads that open it, one is the first: strokes on another would not be flushed.
        return self._entries.setdefault(name, entry)

    def add_image(
        self,
        name: str,
        data: object,
        axes: str,
        *,
        scale: Sequence[float] | None = None,
        units: Sequence[str | None] | None = None,
        translation: Sequence[float] | None = None,
        channel_names: Sequence[str] | None = None,
        no_data: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ImageEntry:
        """Copy an image into the project, block by block, with its resolution pyramid.

        Parameters
        ----------
        name : str
            Its name; characters that file systems or paths give a meaning are replaced.
        data : array-like
            NumPy, Dask or Zarr array of integers, floats or booleans. Floats are stored as float32,
            booleans as uint8.
        axes : str
            What each dimension of `data` is: letters t, c, z, y, x in any order, such as "yxc".
        scale, units, translation : sequence, optional
            Pixel size, its unit and place of the first pixel per dimension of `data`.
        channel_names : sequence of str, optional
            One per channel.
        no_data : int, optional
            Of integers: pixels that are this in all channels hold no data.
        progress : callable, optional
            Called with blocks done and blocks in total; it may raise to stop, and nothing is left.

        Raises
        ------
        ImageError
            If the image cannot be used: type, axes, empty, not finite.
        ProjectError
            If the name is taken or the project is not open for writing.
        StorageError
            If the file system refuses.
        """
        write = partial(
            write_image,
            source=Source(as_array(data), axes),
            scale=scale,
            units=units,
            translation=translation,
            channel_names=channel_names,
            no_data=no_data,
            progress=progress,
        )
        return self._add(name, write)

    def add_reference(self, name: str, url: str | Path, no_data: int | None = None) -> ImageEntry:
        """Refer to an existing OME-Zarr image (0.4 or 0.5); only labels are kept in the project.

        Parameters
        ----------
        name, url : str, str or Path
            Its name in the project, and a local path, or a URL that fsspec understands.
        no_data : int, optional
            Of integers: pixels that are this in all channels hold no data.

        Raises
        ------
        ImageError, ProjectFormatError
            If it cannot be reached or used.
        ProjectError
            If the name is taken or the project is not open for writing.
        """
        text = str(url)
        local = "://" not in text
        source = str(Path(text).resolve()) if local else text
        levels, meta = open_levels(source)
        stored = [letter for _, letter in sorted(zip(meta.order, meta.axes, strict=True))]
        intensity = sample_intensity(levels[0], "".join(stored), no_data=no_data)
        reference = {"url": source}

        def fill(draft: Path, unique: str) -> None:
            if local:
                final = self.path / "images" / unique
                with contextlib.suppress(ValueError):  # another drive on Windows
                    reference["relative"] = os.path.relpath(source, final)
            own = {"reference": reference, "intensity": intensity.as_json()}
            make_group(draft, {"napari-cas": own})

        return self._add(name, fill)

    def _add(self, name: str, fill: Callable[[Path, str], None]) -> ImageEntry:
        self._check_writing()
        with storing(self.path):
            (self.path / "images").mkdir(exist_ok=True)
        unique = safe_name(name)
        taken = {n.casefold() for n in self._order}
        folder = self.path / "images" / unique
        if unique.casefold() in taken or folder.exists():
            raise ProjectError(
                f"The project already has an image {unique!r}", todo="Choose another name."
            )
        draft = temporary(folder)
        try:
            fill(draft, unique)
            add_labels(draft, unique)
            with self._own:
                self._check_writing()  # it may have been closed while pixels were copied
                with storing(folder):
                    draft.rename(folder)
                self._order.append(unique)
                self._write_own()
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return self.image(unique)

    def remove_image(self, name: str) -> None:
        """Remove an image with everything painted on it and predicted for it.

        Raises
        ------
        ProjectError
            If there is none or the project is not open for writing.
        StorageError
            If the file system refuses.
        """
        folder = self.path / "images" / check_name(name, "an image")
        aside = temporary(folder)
        with self._own:
            self._check_writing()
            if name not in self._order:
                raise ProjectError(f"No image {name!r} in {self.path}")
            with storing(folder), contextlib.suppress(FileNotFoundError):
                folder.rename(aside)
            if (entry := self._entries.pop(name, None)) is not None:
                entry.close()
            self._broken.pop(name, None)
            self._order.remove(name)
            self._write_own()
        shutil.rmtree(aside, ignore_errors=True)
