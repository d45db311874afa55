"""Models in and out of a project: safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from napari_cas.config import ModelSpec
from napari_cas.errors import CheckpointError, StorageError
from napari_cas.store.models import decode_tensors

if TYPE_CHECKING:
    from napari_cas.store import Project

WEIGHTS, RECORD = "weights.safetensors", "model.json"
LARGEST_RECORD = 16 * 2**20
"""Bytes of JSON that are read at most: a lying file must not fill the memory."""


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
        The directory cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    tensors, record = project.load_model(name)
    target = Path(path)
    try:
        target.mkdir(parents=True, exist_ok=True)
        _replace(target / WEIGHTS, to_bytes(tensors))
        _replace(target / RECORD, json.dumps(record, indent=2).encode())
    except OSError as error:
        raise StorageError(
            f"The model could not be written to {target}",
            got=str(error),
            todo="Choose another place or make room on the disk.",
        ) from error
    return target


def load(project: Project, path: str | Path) -> tuple[str, ModelSpec]:
    """Copy a saved model into a project and return its name there and its network.

    Raises
    ------
    CheckpointError
        There is no model, or a damaged or foreign one.
    """
    source = Path(path)
    folder = source.parent if source.is_file() else source
    record = _read_record(folder / RECORD)
    spec = _spec(record, folder)
    try:
        tensors = decode_tensors((folder / WEIGHTS).read_bytes(), str(folder / WEIGHTS))
    except OSError as error:
        raise CheckpointError(
            f"The weights in {folder} cannot be read", expected=WEIGHTS, got=str(error)
        ) from error
    name = _free_name(folder.resolve().name, project.models)
    project.save_model(name, tensors, record)
    return name, spec


def _read_record(path: Path) -> dict[str, object]:
    try:
        if path.stat().st_size > LARGEST_RECORD:
            raise CheckpointError(f"{path} is too large for a model's record")
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"There is no model in {path.parent}",
            expected=f"a directory with {WEIGHTS} and {RECORD}",
            got=str(error),
            todo="Choose the directory that 'Save model' wrote.",
        ) from error
    if isinstance(record, dict) and isinstance(record.get("record"), dict):
        record = record["record"]  # taken straight out of a project's models/
    if not isinstance(record, dict):
        raise CheckpointError(f"{path} is not a model's record", expected="a JSON object")
    return record


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


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


def _free_name(name: str, taken: tuple[str, ...]) -> str:
    base = "".join(c if c.isalnum() or c in "-_" else "_" for c in name).strip("_") or "model"
    candidate, number = base, 2
    while candidate in taken:
        candidate, number = f"{base}-{number}", number + 1
    return candidate
