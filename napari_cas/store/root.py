"""What a project keeps besides images: its format, names, models and state."""

from __future__ import annotations

import contextlib
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from napari_cas.errors import (
    CASError,
    CheckpointError,
    ProjectError,
    ProjectFormatError,
    StorageError,
)
from napari_cas.store import models
from napari_cas.store.files import (
    TEMPORARY,
    check_name,
    is_folder,
    read_group,
    read_json,
    reading,
    refuse_url,
    safe_name,
    write_group,
    write_json,
)
from napari_cas.store.links import is_link, refuse_links
from napari_cas.store.naming import Naming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_cas.store.locking import WriteLock

Mode: TypeAlias = Literal["r", "r+", "worker"]

FORMAT_VERSION = 1
"""Version of the layout on disk; newer ones are refused, never guessed at."""


class ProjectRoot:
    """Names, models and state of a project; see :class:`~napari_cas.store.project.Project`."""

    path: Path
    mode: Mode

    def __init__(self, path: Path, mode: Mode, lock: WriteLock | None) -> None:
        self.path = path
        self.mode = mode
        self._lock = lock
        self._own = threading.Lock()
        """Held while images or names change and are written, for the time of a small file: images
        are copied in a thread, their pixels without it."""
        self._notes: list[str] = []
        self._order: list[str] = []
        self._broken: dict[str, CASError] = {}
        self.naming = Naming()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self.mode == "r+" and self._lock is None

    def _check_writing(self) -> None:
        if self.mode != "r+" or self._lock is None:
            raise ProjectError(
                f"{self.path} is not open for writing",
                expected="mode 'r+'",
                got=f"mode {self.mode!r}" if not self.closed else "closed",
            )
        if not is_folder(self.path):  # a new one in its place would take what is meant for it
            raise StorageError(
                f"{self.path} is no longer there", todo="Move it back, or open it where it is now."
            )

    # Images and names -------------------------------------------------------------------------

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images that can be opened, in order."""
        return tuple(name for name in tuple(self._order) if name not in self._broken)

    @property
    def taken(self) -> tuple[str, ...]:
        """Names of all images, of those that are damaged, too."""
        return tuple(self._order)

    @property
    def damaged(self) -> dict[str, str]:
        """What is wrong with the images that cannot be opened, by name."""
        return {name: str(error) for name, error in tuple(self._broken.items())}

    def _listed(self) -> list[str]:
        own = check_format(self.path)
        self.naming = Naming(own.get("names"))
        listed = own.get("images", [])
        names: list[str] = []
        for name in listed if isinstance(listed, list) else []:
            if isinstance(name, str) and safe_name(name) == name:
                names.append(name)
            else:
                self._notes.append(f"{self.path / 'zarr.json'} lists an unusable name: {name!r}.")
        found = sorted(p.name for p in self._inside("images") if is_folder(p))
        return list(dict.fromkeys([*names, *(n for n in found if safe_name(n) == n)]))

    def _inside(self, part: str) -> list[Path]:
        """Return what is in one of the project's folders; nothing where it is missing."""
        folder = self.path / part
        with reading(folder):
            return list(folder.iterdir()) if folder.is_dir() else []

    def set_names(self, names: Mapping[int, str]) -> None:
        """Name the labels of predictions; labels of one name are one wherever they are shown.

        Parameters
        ----------
        names : mapping of int to str
            Name by label, instead of all names before; an empty name is none.

        Raises
        ------
        InputError
            If a label or a name cannot be used.
        ProjectError
            If the project is not open for writing.
        StorageError
            If the file system refuses; the names then stay as they were.
        """
        self._check_writing()
        with self._own:
            before = self.naming.names
            self.naming.set(names)
            try:
                self._write_own()
            except StorageError:
                self.naming.set(before)
                raise

    def _write_own(self) -> None:
        """Write the list of images and the names; `_own` is held."""
        own: dict[str, Any] = {"format": FORMAT_VERSION, "images": self._order}
        if self.naming.names:
            own["names"] = self.naming.as_json()
        write_group(self.path, {"napari-cas": own}, durable=True)

    # Models -----------------------------------------------------------------------------------

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, oldest first."""
        found = []
        for path in self._inside("models"):
            if not path.name.startswith(TEMPORARY) and not is_link(path):
                with contextlib.suppress(OSError):
                    found.append(((path / "model.json").stat().st_mtime_ns, path.name))
        return tuple(name for _, name in sorted(found))

    def _linked_models(self) -> list[str]:
        """Return a sentence for each model that is a link, and so is not used."""
        links = sorted(p for p in self._inside("models") if is_link(p))
        return [f"{path} is a symbolic link; the model behind it is not used." for path in links]

    def _model(self, name: str) -> Path:
        refuse_links(self.path, "models", check_name(name, "a model"))
        return self.path / "models" / name

    def save_model(
        self, name: str, tensors: Mapping[str, NDArray[Any]], record: Mapping[str, Any]
    ) -> None:
        """Store a model in one step, replacing one of that name.

        Raises
        ------
        CheckpointError
            If it cannot be stored without loss.
        ProjectError
            If the project is open read-only or the name cannot be used.
        StorageError
            If the file system refuses.
        """
        if self.mode == "r":
            raise ProjectError(f"{self.path} is open read-only", expected="mode 'worker' or 'r+'")
        models.write_model(self._model(name), tensors, record)

    def load_model(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return a model's tensors and record.

        Raises
        ------
        CheckpointError
            If it is missing, damaged or foreign.
        ProjectError
            If the name cannot be used, or a link is in its place.
        """
        return models.read_model(self._model(name))

    def model_record(self, name: str) -> dict[str, Any]:
        """Return a model's record without reading its weights.

        Raises
        ------
        CheckpointError
            If it is missing, damaged or foreign.
        ProjectError
            If the name cannot be used, or a link is in its place.
        """
        record: dict[str, Any] = models.read_head(self._model(name))["record"]
        return record

    def delete_model(self, name: str) -> None:
        """Remove a model; does nothing if there is none.

        Raises
        ------
        StorageError
            If the file system refuses.
        """
        if self.mode == "r":
            raise ProjectError(f"{self.path} is open read-only", expected="mode 'worker' or 'r+'")
        models.delete_model(self._model(name))

    def model_digest(self, name: str) -> str:
        """Return the SHA-256 of a model's weights; "" if there is no such model."""
        try:
            return str(models.read_head(self._model(name)).get("sha256", ""))
        except (CheckpointError, ProjectError):
            return ""

    # State ------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return what :meth:`set_state` stored; empty if nothing or damaged."""
        path = self.path / "state.json"
        if not path.exists():
            return {}
        try:
            return read_json(path)
        except ProjectFormatError as error:
            note = f"{error} Starting without it."
            if note not in self._notes:
                self._notes.append(note)
            return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Store a small JSON object in one step.

        Raises
        ------
        ProjectError
            If the project is not open for writing.
        StorageError
            If the file system refuses.
        """
        self._check_writing()
        write_json(self.path / "state.json", dict(state))


def local_path(path: str | Path) -> Path:
    """Return an absolute path.

    Raises
    ------
    ProjectError
        `path` is a URL. Painting relies on locks and on files that are replaced in one step, which
        object stores lack.
    """
    todo = (
        "Put the project on a disk or a shared folder; its images may stay where they are and be "
        "referred to by URL."
    )
    refuse_url(path, "A project", error=ProjectError, todo=todo)
    return Path(path).resolve()


def unmake(path: Path, lock: WriteLock | None, *, folder: bool) -> None:
    """Remove a project that was just made, as far as that goes; what is not its own stays.

    Parameters
    ----------
    path : Path
        Its directory.
    lock : WriteLock or None
        Held on it, and released here; without one, nothing in the directory is the project's.
    folder : bool
        Whether the directory goes, too, if nothing else is in it.
    """
    if lock is not None:
        for part in ("images", "models"):
            shutil.rmtree(path / part, ignore_errors=True)
        for name in ("zarr.json", "state.json"):
            with contextlib.suppress(OSError):
                (path / name).unlink()
        lock.release()
        with contextlib.suppress(OSError):
            lock.path.unlink()
    if folder:
        with contextlib.suppress(OSError):
            path.rmdir()


def _instead(path: Path) -> str:
    """Return what is at a path at which there is no project."""
    if path.is_dir():
        return "no zarr.json"
    return "a file" if path.exists() else "no such directory"


def check_format(path: Path) -> dict[str, Any]:
    """Return our part of the project's metadata.

    Raises
    ------
    ProjectFormatError
        If there is no project here, one of another version, or one whose images or models are a
        link to elsewhere.
    """
    try:
        there = (path / "zarr.json").exists()
    except OSError as error:
        raise ProjectFormatError(
            f"{path} cannot be read", expected="a project", got=error.strerror or str(error)
        ) from error
    if not there:
        raise ProjectFormatError(
            f"{path} is not a project",
            expected="a directory made by napari-cas",
            got=_instead(path),
            todo="If it was moved or renamed, open it where it is now.",
        )
    own = read_group(path).get("napari-cas")
    if not isinstance(own, dict) or "format" not in own:
        raise ProjectFormatError(
            f"{path} is not a project",
            expected="'napari-cas' in the attributes of zarr.json",
            got="another Zarr group",
            todo="To annotate an OME-Zarr image, open it as an image.",
        )
    version = own["format"]
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ProjectFormatError(
            f"{path} has an unknown format version",
            expected=f"1 to {FORMAT_VERSION}",
            got=repr(version),
            todo="Update napari-cas to open projects of newer versions.",
        )
    for part in ("images", "models"):
        refuse_links(path, part)
    return own
