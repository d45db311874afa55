"""Which machine trains and predicts: a preference of this computer, kept outside of projects."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
from pydantic import ValidationError

from napari_cas.config import ClusterSettings
from napari_cas.store.files import storing, write_bytes


def file() -> Path:
    """Return where the preference is kept: in ``NAPARI_CAS_HOME`` or the user's configuration."""
    home = os.environ.get("NAPARI_CAS_HOME")
    folder = Path(home) if home else platformdirs.user_config_path("napari-cas")
    return folder / "cluster.json"


def load() -> ClusterSettings:
    """Return the preference; this machine where there is none or it cannot be read."""
    try:
        return ClusterSettings.model_validate_json(file().read_bytes())
    except (OSError, ValidationError):
        return ClusterSettings()


def save(cluster: ClusterSettings) -> None:
    """Keep the preference.

    Raises
    ------
    StorageError
        The file system refuses.
    """
    with storing(file()):
        file().parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file(), cluster.model_dump_json(indent=2).encode())
