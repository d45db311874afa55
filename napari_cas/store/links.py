"""Symbolic links inside a project: nothing is written through one, whoever made it.

A project that somebody sends may hold links to any place of the receiver's disk. The project's own
folder may be reached through links; what it holds must be its own. Files are replaced, never
written in place, so a link in the place of a file does no harm; one in the place of a folder would.
"""

from __future__ import annotations

import os
from pathlib import Path

from napari_cas.errors import ProjectFormatError


def is_link(path: Path) -> bool:
    """Return whether `path` is a symbolic link (or a junction), broken, looping or not."""
    isjunction = getattr(os.path, "isjunction", lambda _: False)  # Python 3.12
    return path.is_symlink() or bool(isjunction(path))


def find_link(root: Path, *parts: str) -> Path | None:
    """Return the first link on the way from `root`, which is not looked at, down these folders."""
    for part in parts:
        root = root / part
        if is_link(root):
            return root
    return None


def refuse_links(root: Path, *parts: str) -> None:
    """Check the way from `root` down these folders.

    Raises
    ------
    ProjectFormatError
        If one of them is a link.
    """
    link = find_link(root, *parts)
    if link is not None:
        raise ProjectFormatError(
            f"{link} is a symbolic link",
            expected="a folder of the project's own",
            got=f"a link to {link.readlink()}",
            todo="Put what it points to in its place; nothing is written through links.",
        )


def linked_inside(folder: Path) -> bool:
    """Return whether a folder is a link, or holds one to a folder at any depth."""
    if is_link(folder):
        return True
    return any(
        is_link(Path(parent, name)) for parent, names, _ in os.walk(folder) for name in names
    )
