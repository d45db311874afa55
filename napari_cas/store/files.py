"""Small files written so that a reader sees the old or the new one, never a torn one."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import stat
import time
from typing import TYPE_CHECKING, Any

from napari_cas.errors import CASError, InputError, ProjectError, ProjectFormatError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

JSON_LIMIT = 64 << 20
"""Bytes of the largest JSON file that is read; a foreign file is refused, not loaded."""

TEMPORARY = ".tmp-"
"""Prefix of names that are being written or removed; never listed, cleaned up when left behind."""

_counter = itertools.count()
_TODO = {
    errno.ENOENT: "Check that the disk is there, and that nothing was moved or renamed.",
    errno.ENOSPC: "Free some space and try again, or choose another place.",
    errno.EDQUOT: "Free some quota and try again, or choose another place.",
    errno.EROFS: "The file system is read-only: choose a place that can be written.",
    errno.EACCES: "Ask for write permission, or choose another place.",
    errno.EPERM: "Ask for write permission, or choose another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}
_FULL = {errno.ENOSPC: "space", errno.EDQUOT: "quota"}
_LONGEST = 120
"""Bytes of a safe name: beside it there is room for what drafts and label files add to theirs."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]")  # a drive's letter is one
_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def storage_error(error: OSError, path: Path, *, kept: bool = False) -> StorageError:
    """Return the typed error for a write at `path` that the file system refused.

    Parameters
    ----------
    error : OSError
        What it said.
    path : Path
        File or folder.
    kept : bool
        Whether what could not be written stays in memory and is written by itself later.
    """
    reason = error.strerror or type(error).__name__
    todo = _TODO.get(error.errno or 0, "Check that the disk is there and writable.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and (file := _file_in(path)) is not None:
        reason, todo = f"{file} is a file, not a folder", "Choose another place."
    if kept and error.errno in _FULL:
        room = _FULL[error.errno]
        todo = f"Free some {room}; nothing is lost, it stays in memory and is saved again."
    return StorageError(f"Could not write {path} ({reason})", todo=todo)


def _file_in(path: Path) -> Path | None:
    """Return the part of a path that is a file where a folder is needed, if one is."""
    return next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), None)


def is_url(path: str | Path) -> bool:
    """Return whether this names something elsewhere, even after it was made a Path."""
    return _URL.match(str(path)) is not None


def refuse_url(
    path: str | Path,
    what: str,
    *,
    error: type[CASError] = InputError,
    todo: str = "Choose a folder, and copy from or to it.",
) -> None:
    """Check that something is to be read from, or written to, a folder of a file system.

    Parameters
    ----------
    path : str or Path
        What was given.
    what : str
        What it is, as the beginning of a sentence.
    error : type, optional
        What is raised.
    todo : str, optional
        What to do instead.

    Raises
    ------
    CASError
        It is a URL, for which a folder of a strange name would be made; an `InputError` unless
        `error` says otherwise.
    """
    if is_url(path):
        raise error(
            f"{what} must be in a folder of a file system",
            expected="a path",
            got=str(path),
            todo=todo,
        )


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of a write at `path` into a :class:`~napari_cas.errors.StorageError`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an `OSError` of looking at `path` into a typed error, as of a folder of somebody else.

    `Path.exists` and its like raise where a folder on the way may not be searched.
    """
    try:
        yield
    except OSError as error:
        raise ProjectFormatError(
            f"{path} cannot be read", got=error.strerror or type(error).__name__
        ) from error


def is_folder(path: Path) -> bool:
    """Return whether a folder is there, as far as one may look."""
    try:
        return path.is_dir()
    except OSError:
        return False


def temporary(path: Path) -> Path:
    """Return an unused name next to `path`, for writing before renaming."""
    return path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{next(_counter)}")


def write_bytes(path: Path, data: bytes | memoryview, *, durable: bool = False) -> os.stat_result:
    """Replace `path` by `data` in one step; see :func:`write_parts`."""
    return write_parts(path, (data,), durable=durable)


def write_parts(
    path: Path, parts: Iterable[bytes | memoryview], *, durable: bool = False
) -> os.stat_result:
    """Replace `path` by `parts`, one after the other, in one step.

    Parameters
    ----------
    path : Path
        File; its directory must exist.
    parts : iterable of bytes-like
        The new content.
    durable : bool
        Whether to wait until the data survives a power failure (fsync). Without it the data
        survives the end of the process at any moment, which is what painting needs.

    Returns
    -------
    os.stat_result
        Of the file as written.

    Raises
    ------
    OSError
        If the file system refuses; the old content is then untouched.
    """
    draft = temporary(path)
    try:
        with draft.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            status = os.fstat(file.fileno())
        _replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    return status


def _replace(source: Path, target: Path) -> None:
    """Rename over `target`; Windows refuses while a reader has it open, so try for a moment."""
    for attempt in range(20):
        try:
            source.replace(target)
        except PermissionError:
            if os.name != "nt" or attempt == 19:
                raise
            time.sleep(0.01)
        else:
            return


def read_file(path: Path) -> bytes:
    """Return what is in a file.

    Raises
    ------
    OSError
        If it cannot be read, or is no file but a device or a pipe, which may never end.
    """
    refuse_devices(path)
    return path.read_bytes()


def refuse_devices(path: Path) -> None:
    """Check that reading `path` ends.

    Raises
    ------
    OSError
        If it is a device, a pipe or a socket, or leads to one.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # whoever reads it is told better
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


def write_json(path: Path, value: object, *, durable: bool = False) -> None:
    """Replace `path` by `value` as JSON in one step.

    Raises
    ------
    StorageError
        If the file system refuses.
    """
    try:
        data = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a file's name that is no text, which Python holds all the same
        data = json.dumps(value, indent=1, allow_nan=False).encode()
    with storing(path):
        write_bytes(path, data, durable=durable)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`.

    Raises
    ------
    ProjectFormatError
        If the file is missing, too large, not JSON or not an object.
    """
    try:
        size = path.stat().st_size
        if size > JSON_LIMIT:
            raise ProjectFormatError(
                f"{path} is too large", expected=f"at most {JSON_LIMIT} bytes", got=str(size)
            )
        value = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ProjectFormatError(
            f"Could not read {path}",
            expected="a JSON object",
            got=f"{type(error).__name__}: {error}",
        ) from error
    if not isinstance(value, dict):
        raise ProjectFormatError(
            f"Could not read {path}", expected="a JSON object", got=type(value).__name__
        )
    return value


def write_group(path: Path, attributes: dict[str, Any], *, durable: bool = False) -> None:
    """Write the attributes of a Zarr v3 group, in one step.

    Its folder must be there: a project that was moved away is not made anew where it was.
    """
    value = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    write_json(path / "zarr.json", value, durable=durable)


def make_group(path: Path, attributes: dict[str, Any]) -> None:
    """Make a Zarr v3 group in a folder that is there; `path` itself may be, too."""
    with storing(path):
        path.mkdir(exist_ok=True)
    write_group(path, attributes)


def read_group(path: Path) -> dict[str, Any]:
    """Return the attributes of the Zarr v3 group at `path`.

    Raises
    ------
    ProjectFormatError
        If there is no such group.
    """
    meta = read_json(path / "zarr.json")
    if meta.get("zarr_format") != 3 or meta.get("node_type") != "group":
        raise ProjectFormatError(
            f"{path / 'zarr.json'} is not a Zarr v3 group",
            expected="zarr_format 3, node_type group",
            got=f"zarr_format {meta.get('zarr_format')!r}, node_type {meta.get('node_type')!r}",
        )
    attributes = meta.get("attributes", {})
    if not isinstance(attributes, dict):
        raise ProjectFormatError(
            f"{path / 'zarr.json'} is damaged",
            expected="attributes as an object",
            got=type(attributes).__name__,
        )
    return attributes


def safe_name(name: str, ending: str = "") -> str:
    """Return `name` as a directory name that works on every system and stays in its directory.

    Parameters
    ----------
    name : str
        What it is to be called.
    ending : str
        Comes behind, such as "-2"; a name that is too long with it is shortened before.

    Examples
    --------
    >>> safe_name("../x")
    'x'
    >>> safe_name("cells [DAPI] 1/2")
    'cells [DAPI] 1_2'
    >>> len(safe_name("x" * 200, "-2"))
    120
    """
    text = re.sub(r'[\x00-\x1f<>:"/\\|?*\x7f\ud800-\udfff]', "_", name)
    text = _cut(text, _LONGEST - len(ending))
    if _RESERVED.match(text):
        text = f"x-{_cut(text, _LONGEST - len(ending) - 2)}"
    return (text or "unnamed") + ending


def _cut(text: str, limit: int) -> str:
    """Return a name of at most so many bytes that ends with a whole character, and no dot."""
    text = text.encode()[:limit].decode(errors="ignore")
    return re.sub(r"^[._\s]+|[.\s]+$", "", text)


def check_name(name: str, what: str) -> str:
    """Return `name` if it is a safe directory name.

    Raises
    ------
    ProjectError
        If it is not, for example because it leads outside the project.
    """
    if safe_name(name) != name:
        raise ProjectError(
            f"Unusable name for {what}", expected=repr(safe_name(name)), got=repr(name)
        )
    return name


def fsync_directory(path: Path) -> None:
    """Make renames inside `path` survive a power failure, where the system can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
