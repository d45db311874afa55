"""Is it OME-Zarr? Metadata against ome-zarr-models, arrays against the metadata.

Besides what the models check, labels are checked to fit their image and to hold integers.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ome_zarr_models.v04.image
import ome_zarr_models.v05.image
import ome_zarr_models.v05.image_label
import ome_zarr_models.v05.labels
import zarr
from pydantic import ValidationError

from napari_cas.errors import CASError
from napari_cas.store.levels import how_to_reach, locate, open_levels, what_is_there
from napari_cas.store.regular import store_at

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_IMAGES = 100_000


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    path : str
        Group or array, relative to what was validated; "" for itself.
    message : str
        What was expected and what was found.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or '.'}: {self.message}"


def validate(path: str | Path) -> list[Problem]:
    """Check an OME-Zarr image, labels group, collection of images or a project.

    Parameters
    ----------
    path : str or Path
        Local path or URL.

    Returns
    -------
    list of Problem
        Empty if all is well. In a project, labels are kept at full resolution only; that they have
        fewer levels than the image is no problem there, an export completes them.
    """
    try:
        group = zarr.open_group(store_at(str(path)), mode="r")
    except Exception as error:
        # Whatever a store raises: it is not readable as Zarr.
        found = what_is_there(error, str(path))
        return [Problem("", f"expected a Zarr group, got {found}. {how_to_reach(error)}".rstrip())]
    return _guarded("", lambda: _any(group))


def _any(group: zarr.Group) -> list[Problem]:
    attributes = dict(group.attrs)
    own, ome = _dict(attributes.get("napari-cas")), _dict(attributes.get("ome"))
    if "format" in own:
        return _project(group, own.get("images"))
    if "bioformats2raw.layout" in ome:
        return _collection(group)
    if "multiscales" in ome or "multiscales" in attributes:
        return _image(group, "", complete=True)
    if "labels" in ome:
        return _labels(group, "", None)
    return [Problem("", "no OME-Zarr metadata: expected multiscales, labels or a collection")]


def _guarded(where: str, check: Callable[[], list[Problem]]) -> list[Problem]:
    """Return what a check finds; what is so damaged that zarr trips over it is a problem, too."""
    try:
        return check()
    except Exception as error:
        # zarr raises whatever the damage leads to: KeyError, TypeError, UnicodeDecodeError.
        return [Problem(where, f"{type(error).__name__}: {error}")]


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _project(group: zarr.Group, listed: object) -> list[Problem]:
    images = group.get("images")
    if not isinstance(images, zarr.Group):
        return [Problem("images", "missing")]
    # The list finds what zarr cannot list because it is damaged.
    names = {n for n in listed if isinstance(n, str)} if isinstance(listed, list) else set()
    problems: list[Problem] = []
    for name in sorted(names):
        problems += _guarded(f"images/{name}", partial(_own_image, images, name))
    others = _guarded("images", lambda: _unlisted(images, names))
    return problems + others


def _unlisted(images: zarr.Group, listed: set[str]) -> list[Problem]:
    names = sorted(name for name in images.group_keys() if name not in listed)
    return [problem for name in names for problem in _own_image(images, name)]


def _own_image(images: zarr.Group, name: str) -> list[Problem]:
    where, entry = f"images/{name}", images.get(name)
    if not isinstance(entry, zarr.Group):
        return [Problem(where, "listed but missing")]
    own = _dict(dict(entry.attrs).get("napari-cas"))
    if "reference" in own:
        there = _referred(own["reference"], entry, where)
        return there + _labels(entry["labels"], f"{where}/labels", None)
    return _image(entry, where, complete=False)


def _referred(reference: object, entry: zarr.Group, where: str) -> list[Problem]:
    """Return what is wrong with the image that one of a project refers to."""
    folder = Path(str(getattr(entry.store, "root", "")), entry.path)
    try:
        open_levels(locate(reference, folder))
    except CASError as error:
        return [Problem(where, str(error))]
    return []


def _collection(group: zarr.Group) -> list[Problem]:
    problems: list[Problem] = []
    for number in range(_MOST_IMAGES):
        if str(number) not in group:
            break
        image = group[str(number)]
        if not isinstance(image, zarr.Group):
            problems.append(Problem(str(number), "expected an image, got an array"))
        elif "multiscales" in _ome(image):
            problems += _image(image, str(number), complete=True)
        else:
            problems += _labels(image, str(number), None)
    if number == 0:
        problems.append(Problem("", "a collection without images: expected a group '0'"))
    if "OME" not in group:
        problems.append(Problem("OME", "missing"))
    return problems


def _image(group: zarr.Group, where: str, *, complete: bool) -> list[Problem]:
    attributes = dict(group.attrs)
    if "ome" not in attributes:
        return _check(ome_zarr_models.v04.image.Image.from_zarr, group, where)
    # Labels are checked apart, because the model stops at the first one that does not fit.
    problems = _check(_without_labels, group, where)
    if problems:
        return problems
    levels = _levels(group)
    problems += _halving(levels, where)
    if "labels" in group:
        labels = group["labels"]
        if isinstance(labels, zarr.Group):
            problems += _labels(labels, _join(where, "labels"), (group, levels, complete))
    return problems


def _labels(
    group: zarr.Group | zarr.Array[Any],
    where: str,
    image: tuple[zarr.Group, list[zarr.Array[Any]], bool] | None,
) -> list[Problem]:
    listed = _ome(group).get("labels") if isinstance(group, zarr.Group) else None
    if (
        not isinstance(group, zarr.Group)
        or not isinstance(listed, list)
        or not all(isinstance(name, str) for name in listed)
    ):
        return [Problem(where, f"expected a list of labels, got {listed!r}")]
    problems: list[Problem] = []
    for name in listed:
        place = _join(where, name)
        problems += _guarded(place, partial(_label, group, name, place, image))
    return problems


def _label(
    labels: zarr.Group,
    name: str,
    where: str,
    image: tuple[zarr.Group, list[zarr.Array[Any]], bool] | None,
) -> list[Problem]:
    label = labels.get(name)
    if not isinstance(label, zarr.Group):
        return [Problem(where, "listed but missing")]
    found = _check(ome_zarr_models.v05.image_label.ImageLabel.from_zarr, label, where)
    if not found and "image-label" not in _ome(label):
        found = [Problem(where, "expected image-label metadata")]
    return found or _fit(label, where, image)


def _fit(
    label: zarr.Group, where: str, image: tuple[zarr.Group, list[zarr.Array[Any]], bool] | None
) -> list[Problem]:
    """Return where a label's levels do not hold integers or do not fit the image's."""
    levels = _levels(label)
    problems = [
        Problem(where, f"expected integers, got {level.dtype}")
        for level in levels
        if level.dtype.kind not in "iu"
    ]
    if image is None:
        return problems + _halving(levels, where)
    group, wanted, complete = image
    if complete and len(levels) != len(wanted):
        problems.append(Problem(where, f"expected {len(wanted)} levels, got {len(levels)}"))
    axes, own = _axes(group), _axes(label)
    for number, (level, fine) in enumerate(zip(levels, wanted, strict=False)):
        sizes = dict(zip(axes, fine.shape, strict=True))
        shape = tuple(sizes.get(axis) for axis in own)
        if level.shape != shape:
            problems.append(
                Problem(f"{where}/{number}", f"expected shape {shape}, got {level.shape}")
            )
    return problems


def _halving(levels: list[zarr.Array[Any]], where: str) -> list[Problem]:
    return [
        Problem(where, f"level {number} is not smaller than the one before: {level.shape}")
        for number, (level, finer) in enumerate(zip(levels[1:], levels, strict=False), 1)
        if not level.size < finer.size
    ]


def _ome(group: zarr.Group) -> dict[str, Any]:
    return _dict(dict(group.attrs).get("ome"))


def _levels(group: zarr.Group) -> list[zarr.Array[Any]]:
    datasets = _ome(group)["multiscales"][0]["datasets"]
    arrays = [group[dataset["path"]] for dataset in datasets]
    return [array for array in arrays if isinstance(array, zarr.Array)]


def _axes(group: zarr.Group) -> list[str]:
    return [axis["name"] for axis in _ome(group)["multiscales"][0]["axes"]]


def _join(where: str, name: str) -> str:
    return f"{where}/{name}" if where else name


def _check(model: Callable[[zarr.Group], object], group: zarr.Group, where: str) -> list[Problem]:
    """Return what a model of ome-zarr-models says against a group."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model(group)
        except ValidationError as error:
            return [
                Problem(_join(where, ".".join(map(str, e["loc"]))), e["msg"])
                for e in error.errors()
            ]
        except Exception as error:
            # The models raise ValueError, RuntimeError, KeyError and zarr's own for damage.
            return [Problem(where, f"{type(error).__name__}: {error}")]
    strict = [w for w in caught if w.category.__module__.startswith("ome_zarr_models")]
    return [Problem(where, str(w.message)) for w in strict]


def _without_labels(group: zarr.Group) -> None:
    """Validate an image's own metadata and arrays with the model, leaving its labels out."""
    from pydantic_zarr.v3 import ArraySpec, GroupSpec

    attributes = dict(group.attrs)
    parsed = ome_zarr_models.v05.image.ImageAttrs.model_validate(attributes["ome"])
    arrays: dict[str, Any] = {}
    for path in parsed.get_array_paths():
        array = group.get(path)
        if not isinstance(array, zarr.Array):
            raise ValueError(f"no array at {path}")  # noqa: TRY004 - of the data, not the call
        arrays[f"/{path}"] = ArraySpec.from_array(array)
    ome_zarr_models.v05.image.Image(
        attributes=attributes, members=GroupSpec.from_flat(arrays).members
    )
