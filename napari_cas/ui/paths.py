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
    candidate, number = home() / f"{safe}.zarr", 2
    while candidate.exists():
        candidate, number = home() / f"{safe}-{number}.zarr", number + 1
    return candidate
