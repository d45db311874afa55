"""Models in and out of a project: safetensors and JSON, never a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from napari_cas.config import ModelSpec
from napari_cas.errors import CheckpointError
from napari_cas.session.projects import free_name
from napari_cas.store.files import safe_name
from napari_cas.store.models import (
    RECORD,
    WEIGHTS,
    digest_of,
    export_model,
    import_model,
    input_channels,
)
from napari_cas.store.naming import Naming

if TYPE_CHECKING:
    from napari_cas.store import Project


class Loaded(NamedTuple):
    """A saved model in a project: its name there, its network, and the names of its kinds."""

    name: str
    spec: ModelSpec
    names: dict[int, str]


def nothing_learnt() -> CheckpointError:
    """Return the error of wanting a model before there is one."""
    return CheckpointError(
        "Nothing has been learnt yet", todo="Paint two regions that look different and fine-tune."
    )


def save(project: Project, name: str, path: str | Path) -> Path:
    """Write a project's model into a directory of its own, as `napari_cas.load` reads it.

    Raises
    ------
    CheckpointError
        The model is missing or damaged.
    StorageError
        The directory cannot be written, or holds other things.
    """
    target = Path(path)
    tensors, record = project.load_model(name)
    export_model(target, tensors, {**record, "names": project.naming.as_json()})
    return target


def load(project: Project, path: str | Path) -> Loaded:
    """Copy a saved model into a project, unless it is there; return what it is.

    Raises
    ------
    CheckpointError
        There is no model, a damaged or foreign one, or one for other images than the project's.
    """
    folder = _folder(path)
    tensors, record = import_model(folder)
    spec, names = _spec(record, folder), Naming(record.get("names")).names
    _check_channels(project, record, folder)
    base = _safe(folder.resolve().name)
    digest = digest_of(tensors)
    for name in project.models:
        # Taken before: under the same name, its predictions are known to be its own.
        if name.startswith(base) and project.model_digest(name) == digest:
            return Loaded(name, spec, names)
    name = free_name(base, project.models)
    project.save_model(name, tensors, record)
    return Loaded(name, spec, names)


def is_own(project: Project, name: str, path: str | Path) -> bool:
    """Return whether a project's model and a saved one have the same weights.

    Raises
    ------
    CheckpointError
        There is no model at `path`, or a damaged one.
    """
    return project.model_digest(name) == digest_of(import_model(_folder(path))[0])


def _folder(path: str | Path) -> Path:
    """Return the directory of a saved model, of which a file may have been named."""
    source = Path(path)
    return source.parent if source.name in (WEIGHTS, RECORD) else source


def _spec(record: dict[str, object], folder: Path) -> ModelSpec:
    config = record.get("config")
    model = config.get("model") if isinstance(config, dict) else None
    try:
        return ModelSpec.model_validate(model)
    except ValidationError as error:
        raise CheckpointError(
            f"The model in {folder} was not made by this program or by a newer one",
            got=str(error.errors()[0]["msg"]),
        ) from error


def _check_channels(project: Project, record: dict[str, object], folder: Path) -> None:
    """Refuse a model that can see none of the project's images."""
    wanted = input_channels(record)
    # A project's images all have the same number.
    got = project.image(project.images[0]).n_channels if project.images else wanted
    if wanted != got:
        raise CheckpointError(
            f"The model in {folder} has learnt from images with another number of channels",
            expected=f"images with {wanted}",
            got=f"images with {got}",
            todo="Load a model that was made for images like these, or begin a new one.",
        )


def _safe(name: str) -> str:
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in name).strip("_")
    return safe_name(plain or "model")
