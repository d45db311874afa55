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
from safetensors.numpy import load

from napari_cas.errors import CheckpointError, ProjectFormatError, StorageError
from napari_cas.store.files import (
    fsync_directory,
    read_file,
    read_json,
    storing,
    temporary,
    write_bytes,
    write_parts,
)
from napari_cas.store.replacing import find_directory, replace_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = "napari-cas-model"
FORMAT_VERSION = 1
OF_PLANES = "accepted."
"""How names of tensors begin that are of a project's planes, listed as the record's ``planes``."""
WEIGHTS, RECORD = "weights.safetensors", "model.json"
_HEADER_LIMIT = 16 << 20
_KINDS = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "float16": "F16",
    "int32": "I32", "uint32": "U32", "float32": "F32", "float64": "F64", "int64": "I64",
    "uint64": "U64",
}  # fmt: skip
"""Types by NumPy's names, in the order in which safetensors files hold them, from the last on."""
_ATTEMPTS = 6  # on a busy machine a writer may rest between its two renames again and again


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
    with _lossless(directory.name):
        weights = _encode(tensors)
        digest = _sha256(weights)
        head = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "sha256": digest,
            "bytes": sum(len(part) for part in weights),
            "record": dict(record),
        }
        text = json.dumps(head, indent=1, allow_nan=False).encode()
    with storing(directory):  # no more: a project that was moved away is not made anew
        directory.parent.mkdir(exist_ok=True)
    _write_both(directory, weights, text)
    return digest


def export_model(
    directory: Path, tensors: Mapping[str, NDArray[Any]], record: Mapping[str, Any]
) -> None:
    """Write a model outside any project, in one step, replacing the model that was there.

    Parameters
    ----------
    directory : Path
        A new folder, an empty one, or one that holds nothing but a model.
    tensors : mapping of str to ndarray
        The weights.
    record : mapping
        JSON values; become ``model.json`` as they are.

    Raises
    ------
    CheckpointError
        If a tensor or the record cannot be stored without loss.
    StorageError
        If other things are in the way, or the file system refuses; a model that was there is then
        untouched.
    """
    directory = directory.resolve()
    check_model_folder(directory)
    tensors, record = _without_planes(tensors, record)
    with _lossless(directory.name):
        weights, text = _encode(tensors), json.dumps(dict(record), indent=2, allow_nan=False)
    with storing(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
    _write_both(directory, weights, text.encode())


def check_model_folder(directory: Path) -> None:
    """Make sure that a model may be written to a folder outside any project.

    Raises
    ------
    StorageError
        Other things are in the way.
    """
    with storing(directory):
        found = {p.name for p in directory.iterdir()} if directory.exists() else set()
    # The folder is replaced as a whole: that must not cost anybody anything else.
    other = sorted(n for n in found - {WEIGHTS, RECORD} if not n.startswith("."))
    if other:
        raise StorageError(
            f"{directory} is not a folder for a model",
            expected="a new or empty folder, or that of a model",
            got=", ".join(other[:5]),
            todo="Choose another folder.",
        )


def import_model(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`export_model` wrote, or a model taken straight out of a project.

    Raises
    ------
    CheckpointError
        If it is missing or damaged; what the record says is not looked at.
    """
    try:
        folder = find_directory(folder)
        record = read_json(folder / RECORD)
        data = read_file(folder / WEIGHTS)
    except (OSError, ProjectFormatError) as error:
        raise CheckpointError(
            f"No readable model at {folder}",
            expected=f"a folder with {WEIGHTS} and {RECORD}",
            got=_instead(folder) or str(error).rstrip("."),
            todo="Choose the folder of a saved model.",
        ) from error
    inner = record.get("record", record)  # a project keeps it one level deeper
    if not isinstance(inner, dict):
        raise CheckpointError(f"{folder / RECORD} is not a model's record", expected="an object")
    return _without_planes(decode_tensors(data, str(folder / WEIGHTS)), inner)


def _without_planes(
    tensors: Mapping[str, NDArray[Any]], record: Mapping[str, Any]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Leave out what a model knows of one project's planes: elsewhere they are others."""
    kept = {name: value for name, value in tensors.items() if not name.startswith(OF_PLANES)}
    training = record.get("training")
    if isinstance(training, dict):
        return kept, {**record, "training": {**training, "planes": []}}
    return kept, dict(record)


def _instead(folder: Path) -> str:
    """Return what is in a model's place, or what its folder lacks; "" where that is not seen."""
    try:
        if not folder.is_dir():
            return "a file" if folder.exists() else "no such folder"
        missing = [name for name in (WEIGHTS, RECORD) if not (folder / name).exists()]
        project = " but a project" if missing and (folder / "models").is_dir() else ""
    except OSError:
        return ""
    return f"no {' and no '.join(missing)}{project}" if missing else ""


@contextlib.contextmanager
def _lossless(name: str) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The model {name} cannot be stored",
            expected="arrays of numbers and a JSON record",
            got=f"{type(error).__name__}: {error}",
        ) from error


def _encode(tensors: Mapping[str, NDArray[Any]]) -> list[bytes | memoryview]:
    """Return a safetensors file in parts: the arrays' own memory, behind the header.

    The bytes are those of the library, which would need memory for all of them at once.
    """
    arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    kinds = {name: _KINDS[array.dtype.name] for name, array in arrays.items()}
    rank = {kind: number for number, kind in enumerate(_KINDS.values())}
    order = sorted(arrays, key=lambda name: (-rank[kinds[name]], name))
    header, end = {}, 0
    for name in order:
        begin, end = end, end + arrays[name].nbytes
        shape = list(arrays[name].shape)
        header[name] = {"dtype": kinds[name], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    values = (_little(arrays[name]).reshape(-1).view(np.uint8).data for name in order)
    return [len(text).to_bytes(8, "little"), text, *values]


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def digest_of(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the digest under which `write_model` stores these weights."""
    return _sha256(_encode(tensors))


def _sha256(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _write_both(directory: Path, weights: Iterable[bytes | memoryview], text: bytes) -> None:
    """Write a draft of the directory and put it in its place."""
    draft = temporary(directory)
    try:
        with storing(directory):
            draft.mkdir()
            write_parts(draft / WEIGHTS, weights, durable=True)
            write_bytes(draft / RECORD, text, durable=True)
            fsync_directory(draft)
            replace_directory(draft, directory)
            fsync_directory(directory.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


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
    for attempt in range(_ATTEMPTS):
        try:
            return _read(directory)
        except CheckpointError:
            # Between the two renames of a replacement there is no directory for an instant.
            if attempt == _ATTEMPTS - 1:
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
    path = directory / RECORD
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


def input_channels(record: Mapping[str, Any]) -> int | None:
    """Return how many channels a model's images have, None where its record does not say.

    Parameters
    ----------
    record : mapping
        As `read_model` returns it.
    """
    known = record.get("input")
    channels = known.get("channels") if isinstance(known, dict) else None
    return channels if isinstance(channels, int) else None


def _read(directory: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    head = read_head(directory)
    path = directory / WEIGHTS
    try:
        size = path.stat().st_size
        if size != head.get("bytes"):
            raise CheckpointError(
                f"{path} is damaged", expected=f"{head.get('bytes')} bytes", got=str(size)
            )
        data = read_file(path)
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
    # The library copied them out of `data`, once, and others may change them.
    return {name: np.require(value, requirements="W") for name, value in tensors.items()}


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
