"""Small real images with painted regions, shipped with the package.

Needs numpy and imageio only. The files lie in `napari_cas/_sample_data` when installed and in
`sample_data/` of a checkout; `index.json` there describes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import CASError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sample", "SampleData", "SampleError", "list_samples", "load_sample"]

_FORMAT = 1


class SampleError(CASError):
    """Sample data that is missing from the installation, or damaged."""


@dataclass(frozen=True)
class Sample:
    """What is known of a sample without reading its pictures.

    Attributes
    ----------
    name : str
        Short identifier, such as "cells".
    title, description : str
        For menus and tooltips.
    source, license : str
        Where the picture comes from, and its SPDX licence identifier.
    axes : str
        Axes of the image, such as "yx", "yxc" or "tyx"; strokes and truth have the same without c.
    scale : tuple of float or None
        Pixel size along `axes` without c; None where the source states none.
    classes : dict of int to str
        What the values of the truth mean. The numbers in the strokes mean nothing.
    """

    name: str
    title: str
    description: str
    source: str
    license: str
    axes: str
    scale: tuple[float, ...] | None
    classes: dict[int, str] = field(hash=False)
    files: dict[str, tuple[str, ...]] = field(hash=False, repr=False)


@dataclass(frozen=True)
class SampleData:
    """A sample's arrays.

    Attributes
    ----------
    sample : Sample
        Its description.
    image : ndarray
        uint8, with axes `axes`.
    axes : str
        Axes of the image.
    strokes : ndarray
        uint8 regions as an annotator would scribble them, axes as the image's without c;
        0 is unpainted, other ids mean nothing across planes.
    truth : ndarray or None
        uint8 classes, same shape as the strokes; 0 is not to be scored.
    """

    sample: Sample
    image: NDArray[np.uint8]
    axes: str
    strokes: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None


def folder() -> Path:
    """Return the folder of the sample data.

    Raises
    ------
    SampleError
        If it is in neither place.
    """
    here = Path(__file__).resolve().parent
    for candidate in (here / "_sample_data", here.parent / "sample_data"):
        if (candidate / "index.json").is_file():
            return candidate
    raise SampleError(
        "The sample data is missing",
        expected="napari_cas/_sample_data (installed) or sample_data/ (checkout)",
        todo="Install napari-cas again.",
    )


def list_samples() -> tuple[Sample, ...]:
    """Return all samples, in the order of the menu.

    Raises
    ------
    SampleError
        If the sample data or its index is missing or damaged.
    """
    path = folder() / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["format"] != _FORMAT:
            raise SampleError(
                "Sample index of another format",
                expected=str(_FORMAT),
                got=str(index["format"]),
                todo="Install napari-cas again.",
            )
        return tuple(_sample(entry) for entry in index["samples"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise SampleError(
            "The sample index is damaged",
            got=f"{type(error).__name__}: {error} in {path.name}",
            todo="Install napari-cas again.",
        ) from error


def load_sample(name: str) -> SampleData:
    """Read a sample.

    Parameters
    ----------
    name : str
        One of the names in :func:`list_samples`.

    Returns
    -------
    SampleData
        Image, strokes and truth.

    Raises
    ------
    InputError
        If there is no such sample.
    SampleError
        If a file is missing or damaged.
    """
    known = {sample.name: sample for sample in list_samples()}
    if name not in known:
        raise InputError("No such sample", expected=" or ".join(known), got=repr(name))
    sample = known[name]
    strokes = _stack(sample.files["strokes"])
    truth = _stack(sample.files["truth"]) if sample.files.get("truth") else None
    return SampleData(sample, _stack(sample.files["image"]), sample.axes, strokes, truth)


def _sample(entry: dict[str, Any]) -> Sample:
    """Return an entry of the index as a :class:`Sample`."""
    scale = entry["scale"]
    return Sample(
        **{k: str(entry[k]) for k in ("name", "title", "description", "source", "license", "axes")},
        scale=None if scale is None else tuple(float(x) for x in scale),
        classes={int(k): str(v) for k, v in entry["classes"].items()},
        files={kind: tuple(paths) for kind, paths in entry["files"].items()},
    )


def _stack(paths: tuple[str, ...]) -> NDArray[np.uint8]:
    """Read pictures; several become planes along a new first axis."""
    import imageio.v3 as iio

    planes = []
    for path in paths:
        try:
            planes.append(np.asarray(iio.imread(folder() / path, plugin="pillow"), np.uint8))
        except (OSError, ValueError) as error:
            raise SampleError(
                f"Sample file {path} cannot be read",
                got=str(error),
                todo="Install napari-cas again.",
            ) from error
    return np.stack(planes) if len(planes) > 1 else planes[0]
