"""Models on disk: tensors as safetensors, everything that made them as JSON; nothing executable."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from napari_cas.errors import CheckpointError, ProjectFormatError
from napari_cas.store.files import (
    fsync_directory,
    read_json,
    replace_directory,
    storing,
    temporary,
    write_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = "napari-cas-model"
FORMAT_VERSION = 1
_HEADER_LIMIT = 16 << 20


def write_model(
    directory: Path, tensors: Mapping[str, NDArray[Any]], record: Mapping[str, Any]
) -> str:
    """Write a model directory in one step, replacing the one that was there.

    Parameters
    ----------
    directory : Path
        Will hold ``weights.safetensors`` and ``model.json``.
    tensors : mapping of str to ndarray
        The weights.
    record : mapping
        JSON values: config, seed, data digest, versions.

    Returns
    -------
    str
        SHA-256 of the weights, in hexadecimal.

    Raises
    ------
    CheckpointError
        If a tensor or the record cannot be stored without loss.
    StorageError
        If the file system refuses; the old model is then untouched.
    """
    try:
        weights = save({name: np.asarray(value, order="C") for name, value in tensors.items()})
        digest = hashlib.sha256(weights).hexdigest()
        head = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "sha256": digest,
            "bytes": len(weights),
            "record": dict(record),
        }
        text = json.dumps(head, indent=1, allow_nan=False).encode()
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The model {directory.name} cannot be stored",
            expected="arrays of numbers and a JSON record",
            got=f"{type(error).__name__}: {error}",
        ) from error
    draft = temporary(directory)
    try:
        with storing(directory):
            draft.mkdir(parents=True)
            write_bytes(draft / "weights.safetensors", weights, durable=True)
            write_bytes(draft / "model.json", text, durable=True)
            fsync_directory(draft)
            replace_directory(draft, directory)
            fsync_directory(directory.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return digest


def read_model(directory: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a model directory.

    Returns
    -------
    tensors : dict of str to ndarray
        The weights.
    record : dict
        As given to :func:`write_model`.

    Raises
    ------
    CheckpointError
        If it is missing, damaged or foreign.
    """
    for attempt in range(3):
        try:
            return _read(directory)
        except CheckpointError:
            # Between the two renames of a replacement there is no directory for an instant.
            if attempt == 2:
                raise
            time.sleep(0.05)
    raise AssertionError  # pragma: no cover


def read_head(directory: Path) -> dict[str, Any]:
    """Return the checked content of ``model.json``.

    Raises
    ------
    CheckpointError
        If it is missing, damaged, foreign or newer.
    """
    path = directory / "model.json"
    try:
        head = read_json(path)
    except ProjectFormatError as error:
        raise CheckpointError(error.what, expected=error.expected, got=error.got) from error
    if head.get("format") != FORMAT or not isinstance(head.get("record"), dict):
        raise CheckpointError(
            f"{path} is not a model", expected=f"format {FORMAT!r}", got=repr(head.get("format"))
        )
    version = head.get("version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has an unknown version",
            expected=f"1 to {FORMAT_VERSION}",
            got=repr(version),
            todo="Update napari-cas to read models of newer versions.",
        )
    return head


def _read(directory: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    head = read_head(directory)
    path = directory / "weights.safetensors"
    try:
        size = path.stat().st_size
        if size != head.get("bytes"):
            raise CheckpointError(
                f"{path} is damaged", expected=f"{head.get('bytes')} bytes", got=str(size)
            )
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"Could not read {path}", expected="the weights", got=error.strerror or str(error)
        ) from error
    if hashlib.sha256(data).hexdigest() != head.get("sha256"):
        raise CheckpointError(
            f"{path} is damaged or not of this model",
            expected=f"SHA-256 {head.get('sha256')}",
            got="another one",
        )
    return decode_tensors(data, str(path)), head["record"]


def decode_tensors(data: bytes, where: str) -> dict[str, NDArray[Any]]:
    """Return the tensors in the bytes of a safetensors file.

    Raises
    ------
    CheckpointError
        If they are damaged; sizes are checked against the data before anything is allocated.
    """
    header = int.from_bytes(data[:8], "little")
    if len(data) < 8 or header > min(_HEADER_LIMIT, len(data) - 8):
        raise CheckpointError(
            f"{where} is damaged", expected="a safetensors header", got=f"{len(data)} bytes"
        )
    try:
        tensors: dict[str, NDArray[Any]] = load(data)
    except Exception as error:
        # The library raises its own, KeyError for unknown types, ValueError for shapes and more.
        raise CheckpointError(
            f"{where} is damaged",
            expected="safetensors",
            got=f"{type(error).__name__}: {error}",
        ) from error
    return {name: np.array(value) for name, value in tensors.items()}


def delete_model(directory: Path) -> None:
    """Remove a model directory; does nothing if there is none.

    Raises
    ------
    StorageError
        If the file system refuses.
    """
    aside = temporary(directory)
    with storing(directory), contextlib.suppress(FileNotFoundError):
        directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
