"""Scores kept in files, and whether the code that made them is the code that is here now."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari_cas
import training
from napari_cas.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CODE, _DATA = "code", "data"
_PRODUCT = ("engine", "losses", "metrics", "models")


@cache
def code_digest() -> str:
    """Return a digest of all source files that can change a score: 12 hexadecimal digits."""
    product, own = (Path(package.__path__[0]) for package in (napari_cas, training))
    folders = [own, *(product / name for name in _PRODUCT)]
    digest = hashlib.sha256()
    for file in sorted(file for folder in folders for file in folder.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def kept_scores(file: Path, data: str | None = None) -> dict[str, Any]:
    """Return what :func:`keep_scores` wrote; nothing if other code wrote it, or of other data.

    Parameters
    ----------
    file : Path
        Where it was written.
    data : str, optional
        Digest of the data at hand.

    Raises
    ------
    CheckpointError
        The file is damaged.
    """
    try:
        known: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    except ValueError as error:
        raise CheckpointError(
            f"The scores {file} cannot be read",
            got=str(error),
            todo="Delete the file to score the run again.",
        ) from error
    same = known.pop(_CODE, None) == code_digest()
    return known if known.pop(_DATA, None) == data and same else {}


def keep_scores(file: Path, scores: Mapping[str, Any], data: str | None = None) -> None:
    """Write scores so that a killed process leaves either the old ones or the new.

    Parameters
    ----------
    file : Path
        Where they are written.
    scores : mapping
        JSON.
    data : str, optional
        Digest of the data that they are of.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    made = file.with_suffix(".tmp")
    by = {_CODE: code_digest()} | ({} if data is None else {_DATA: data})
    made.write_text(json.dumps({**by, **scores}, indent=1) + "\n")
    made.replace(file)


def outdated(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a note if runs were trained by other code: hours are not thrown away unasked."""
    codes = [record.get(_CODE) for record in records]
    other = sum(code != code_digest() for code in codes)
    if not other:
        return []
    note = (
        f"{other} of {len(codes)} runs were trained by an earlier state of the code, whose digest "
        "their checkpoints name, and scored by this one. Delete their folders to train them again."
    )
    return [note]
