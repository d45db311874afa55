"""Where new projects go."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the folder of new projects: ``NAPARI_CAS_HOME`` or ``~/napari-cas``."""
    return Path(os.environ.get("NAPARI_CAS_HOME") or Path.home() / "napari-cas")


def new_project(name: str) -> Path:
    """Return a free path for a project.

    Parameters
    ----------
    name : str
        Name of an image, of any characters.
    """
    safe = "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(" ._") or "project"
    return free(home(), safe, ".zarr")


def free(folder: Path, stem: str, suffix: str = "") -> Path:
    """Return a path in a folder that is not taken: with a number if need be.

    Parameters
    ----------
    folder : Path
        Where.
    stem, suffix : str
        What comes before and behind the number.
    """
    candidate, number = folder / f"{stem}{suffix}", 2
    while candidate.exists():
        candidate, number = folder / f"{stem}-{number}{suffix}", number + 1
    return candidate
