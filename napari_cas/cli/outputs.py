"""Where results go: looked at before the work begins, and never over another image's.

Beside label files stands a note of which image each was made from: a file's name says only what the
image was called, and many are called the same.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.errors import InputError, ProjectFormatError, StorageError
from napari_cas.store.files import read_json, refuse_url, storing, write_json
from napari_cas.store.models import check_model_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from napari_cas.store import Project

SOURCES = "sources.json"
"""Name of the note: the image's name in its files' names, and where it came from."""
_LABELS = re.compile(r"(?P<name>.+)_prediction(_[tz]\d+)*\.(png|tif)")


def check_folder(path: str | Path) -> Path:
    """Return a folder as an absolute path, after making sure that it can be written or made.

    Raises
    ------
    InputError
        A file is in the way, or this is a URL.
    StorageError
        The file system will refuse.
    """
    refuse_url(path, "A result")
    folder = Path(path).resolve()
    there = folder
    with storing(folder):
        while not there.exists():
            there = there.parent
    if not there.is_dir():
        raise InputError(f"{path} cannot be a folder", expected="a folder", got=f"a file: {there}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StorageError(f"{there} cannot be written", todo="Choose another folder.")
    return folder


def check_model(path: str | None) -> None:
    """Make sure that a model can be written to a folder, if one is given.

    Raises
    ------
    InputError, StorageError
        As `check_folder`, or the folder holds other things.
    """
    if path is not None:
        check_model_folder(check_folder(path))


def taken(folder: Path) -> dict[str, str]:
    """Return the names of images whose labels are in a folder, and where each came from.

    Returns
    -------
    dict of str to str
        "" where that is not known.
    """
    noted = _noted(folder)
    found = (_LABELS.fullmatch(p.name) for p in folder.iterdir()) if folder.is_dir() else ()
    return {m["name"]: noted.get(m["name"], "") for m in found if m is not None}


def refuse_others(folder: Path, sources: Mapping[str, str]) -> None:
    """Refuse to write labels where those of other images are, under the same names.

    Parameters
    ----------
    folder : Path
        Where they are to go.
    sources : mapping of str to str
        Where each image comes from, by name.

    Raises
    ------
    InputError
        A name is taken.
    """
    there = taken(folder)
    for name, source in sources.items():
        if there.get(name, source) != source:
            raise InputError(
                f"{folder} holds labels of another image named {name}",
                expected=f"none, or those of {source}",
                got=there[name] or f"some that {SOURCES} does not know",
                todo="Choose another folder, or move them away.",
            )


def write_labels(
    project: Project,
    folder: Path,
    sources: Mapping[str, str],
    kind: Literal["png", "tiff"] | None = None,
) -> dict[str, list[str]]:
    """Write the labels of images, and note where each came from.

    Parameters
    ----------
    project : Project
        Has their predictions.
    folder : Path
        Made if missing.
    sources : mapping of str to str
        Where each image comes from, by name; these are written.
    kind : {"png", "tiff"}, optional
        By default png, and tiff for stacks.

    Returns
    -------
    dict of str to list of str
        The files of each image.

    Raises
    ------
    StorageError
        If the file system refuses.
    """
    from napari_cas.store.label_files import export_labels

    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    # First: files of a run that is killed now are known to be its own when it is typed again.
    write_json(folder / SOURCES, {**_noted(folder), **sources})
    written = {}
    for name in sources:
        own = kind or ("tiff" if project.image(name).planes_shape else "png")
        written[name] = [str(p) for p in export_labels(project, folder, images=[name], kind=own)]
    return written


def _noted(folder: Path) -> dict[str, str]:
    """Return what the note says; a damaged one knows nothing."""
    try:
        note = read_json(folder / SOURCES)
    except (OSError, ProjectFormatError):
        return {}
    return {name: source for name, source in note.items() if isinstance(source, str)}
