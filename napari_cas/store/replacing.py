"""Directories that are replaced as a whole, and what a crash between two renames leaves."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from typing import TYPE_CHECKING

from napari_cas.store.files import TEMPORARY

if TYPE_CHECKING:
    from pathlib import Path

_ASIDE = ".aside"
"""How names of directories end that were moved aside; those of `temporary` end with numbers."""
_FORMER = "old-"
"""How they began in earlier versions, and as those of `temporary` begin for what is called old-…"""
_NUMBERS = re.compile(r"-\d+-\d+$")


def replace_directory(draft: Path, target: Path) -> None:
    """Put the finished directory `draft` in the place of `target`.

    A directory cannot be replaced in one step, so the old one is moved aside first; whoever finds
    only that, after a crash between the two steps, restores it with :func:`recover_directories`.

    Raises
    ------
    OSError
        If the file system refuses; the old directory is then where it was.
    """
    aside = _aside(target)
    if target.exists():
        if aside.exists():
            shutil.rmtree(aside)
        target.rename(aside)
    try:
        draft.rename(target)
    except OSError:
        with contextlib.suppress(OSError):
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def recover_directories(parent: Path, *, age: float = 3600) -> None:
    """Finish or undo replacements in `parent` that a crash interrupted.

    Parameters
    ----------
    parent : Path
        May be missing.
    age : float
        Seconds after which a directory that is being written counts as left behind; 0 where a lock
        keeps all others from writing here.
    """
    for path in list(parent.glob(f"{TEMPORARY}*")) if parent.is_dir() else []:
        name = _replaced(path.name)
        with contextlib.suppress(OSError):
            if name and not (parent / name).exists():
                path.rename(parent / name)
            elif name or time.time() - path.stat().st_mtime > age:
                shutil.rmtree(path)


def find_directory(target: Path) -> Path:
    """Return where a directory is whose replacement may have been cut short between two renames.

    Returns
    -------
    Path
        Where it was moved aside to, if only that is there; else `target`.
    """
    if target.exists():
        return target
    place = target.absolute()  # "." has no name
    for aside in (_aside(place), place.parent / f"{TEMPORARY}{_FORMER}{place.name}"):
        if _replaced(aside.name) == place.name and aside.is_dir():
            return aside
    return target


def _aside(target: Path) -> Path:
    return target.parent / f"{TEMPORARY}{target.name}{_ASIDE}"


def _replaced(name: str) -> str:
    """Return what a directory was called before it was moved aside; "" if it never was.

    What an earlier version moved aside is told from what it was removing or had not finished by the
    two numbers. Something called x-1-2 itself is then taken for that: rather an old model is lost
    that a new one was about to replace than something comes back that somebody had deleted.
    """
    name = name.removeprefix(TEMPORARY)
    if name.endswith(_ASIDE):
        return name.removesuffix(_ASIDE)
    former = name.startswith(_FORMER) and not _NUMBERS.search(name)
    return name.removeprefix(_FORMER) if former else ""
