"""Paint regions without naming them; a network learns what tells them apart.

The names below are looked up when first used, so that importing the package imports neither torch
nor napari: torch must never be loaded in the viewer's process.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cas.config import Config
    from napari_cas.engine.api import Model, fine_tune, load, predict
    from napari_cas.engine.predict import Prediction
    from napari_cas.store import Project

try:
    __version__ = version("napari-cas")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

_HOMES = {
    "Config": "napari_cas.config",
    "Model": "napari_cas.engine.api",
    "Prediction": "napari_cas.engine.predict",
    "Project": "napari_cas.store",
    "fine_tune": "napari_cas.engine.api",
    "load": "napari_cas.engine.api",
    "predict": "napari_cas.engine.api",
}

__all__ = [
    "Config",
    "Model",
    "Prediction",
    "Project",
    "__version__",
    "fine_tune",
    "load",
    "predict",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # PEP 562
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
