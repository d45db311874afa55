"""Images with a class for every pixel: blood cells, nuclei, textures, objects.

Each set is looked for in the data folder (``NAPARI_CAS_DATA``, else ``../shared/data``) as a folder
or zip of ``images/`` and ``masks/`` with equal names, as well as in its authors' layout where that
differs. Truths are renumbered: 0 is not scored, classes are 1..K.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.saliency import (
    SETS,
    DataSetError,
    Layout,
    SaliencySet,
    all_pairs,
    data_folder,
    find_pairs,
    members,
    plain_set,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from training.data.store import Pair, Source

VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_VOID = 255
_MOST_CLASSES = 64
"""More numbers than this are those of objects, or of a mask that was made smaller smoothly."""

PART = "To use a part on purpose, pass check_count=False."
"""How to go on with less than a whole set, from Python."""


@dataclass(frozen=True)
class Labelled:
    """An image and the class of each pixel.

    Attributes
    ----------
    name : str
        Name of the file, without suffix.
    image : ndarray
        (Y, X) or (Y, X, 3) uint8.
    truth : ndarray
        (Y, X) uint8: 0 is not scored, else 1..K.
    """

    name: str
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]


@dataclass(frozen=True)
class Kind:
    """What is known of a published set.

    Attributes
    ----------
    published : SaliencySet
        Name, number, places and layouts.
    classes : tuple of str
        Names of the classes 1..K.
    encode : callable
        From the mask as stored to classes, 0 where void.
    class_names_agree : bool
        Whether a class means the same in all images; not so for RWTD, whose masks have no polarity.
    """

    published: SaliencySet
    classes: tuple[str, ...]
    encode: Callable[[NDArray[Any]], NDArray[Any]]
    class_names_agree: bool = True


def _voc(mask: NDArray[Any]) -> NDArray[Any]:
    return np.where(mask == _VOID, 0, mask.astype(np.int64) + 1)


_PLAIN = (Layout("images/*", "masks/*"),)

KINDS: dict[str, Kind] = {
    "wbc": Kind(
        SaliencySet(
            "wbc",
            300,
            ("wbc*",),
            _PLAIN,
            "Zheng et al., Micron 2018 (segmentation of white blood cells), dataset 1",
        ),
        ("background", "cytoplasm", "nucleus"),
        lambda mask: mask + 1,
    ),
    "dsb2018": Kind(
        SaliencySet(
            "dsb2018",
            94,
            ("dsb2018*",),
            (Layout("images/*", "labels/*"), *_PLAIN),
            "BBBC038v1, stage1_train, with each image's masks merged into one label image",
        ),
        ("background", "nucleus"),
        lambda mask: (mask > 0) + 1,
    ),
    "rwtd": Kind(
        SaliencySet(
            "rwtd",
            256,
            ("rwtd*",),
            _PLAIN,
            "the Real-World Texture Dataset of Khan et al. (Sundaramoorthi's group)",
        ),
        ("one texture", "the other"),
        lambda mask: (mask > 127) + 1,
        class_names_agree=False,
    ),
    "voc2012": Kind(
        SaliencySet(
            "voc2012",
            2913,
            ("VOC2012*", "VOCdevkit*", "voc2012*"),
            (*_PLAIN, Layout("*JPEGImages/*.jpg", "*SegmentationClass/*.png")),
            "host.robots.ox.ac.uk/pascal/VOC/voc2012: VOCtrainval_11-May-2012.tar, unpacked",
        ),
        VOC_CLASSES,
        _voc,
    ),
}
"""The sets by name."""


class LabelledSet:
    """A set read on demand.

    Parameters
    ----------
    name : str
        A key of :data:`KINDS`; "dsb2018:fluo", "dsb2018:color" and "dsb2018:gray_bright" are its
        parts by kind of picture, where ``index.csv`` says which is which. Or a saliency set such as
        "ECSSD", or the path of anybody's folder or zip, see :func:`own_kind`.
    data : Path, optional
        Folder that holds the sets, by default the data folder.
    check_count : bool
        Insist on the published number of images; a subset of VOC is taken as it is.

    Raises
    ------
    DataSetError
        If the set is unknown, missing (says where to get it and where to put it) or incomplete.
    """

    def __init__(self, name: str, data: Path | None = None, *, check_count: bool = True) -> None:
        which, part = name, ""
        if which not in SETS and not Path(which).exists():
            which, _, part = name.partition(":")
        self.name, self.kind = name, _kind(which)
        self.classes = self.kind.classes
        folder = data or data_folder()
        counted = check_count and which != "voc2012"
        pairs = (
            all_pairs(self.kind.published, folder, PART)
            if counted
            else find_pairs(self.kind.published, folder)
        )
        chosen = _part(folder / which / "index.csv", part) if part else None
        self._pairs: Mapping[str, Pair] = {
            pair.name: pair for pair in pairs if chosen is None or pair.name in chosen
        }
        self.names = tuple(sorted(self._pairs))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def __iter__(self) -> Iterator[Labelled]:
        """Read the images in the order of their names."""
        return (self.read(name) for name in self.names)

    def read(self, name: str) -> Labelled:
        """Read an image.

        Raises
        ------
        DataSetError
            If it is damaged, or image and mask differ in size.

        Notes
        -----
        Pictures of more than 8 bits are stretched between their robust ends, as the tool does.
        """
        pair = self._pairs[name]
        image = _eight_bits(_decode(pair.image))
        truth = self.kind.encode(_decode(pair.mask, palette=True)).astype(np.uint8)
        if image.shape[:2] != truth.shape:
            raise DataSetError(
                f"Image and mask of {self.name}/{name} differ in size",
                expected=str(image.shape[:2]),
                got=str(truth.shape),
            )
        return Labelled(name, image, truth)


def _kind(name: str) -> Kind:
    """Return what is known about a set of classes, a saliency set or anybody's folder or zip."""
    if name in KINDS:
        return KINDS[name]
    if name in SETS:
        classes = ("background", "salient object")
        return Kind(SETS[name], classes, lambda mask: (mask > 127) + 1, class_names_agree=False)
    if Path(name).exists():
        return own_kind(Path(name))
    known = " or ".join((*KINDS, *SETS))
    expected = f"{known}, or the path of a folder or zip"
    raise DataSetError("Unknown set", expected=expected, got=repr(name))


def own_kind(path: Path) -> Kind:
    """Return what is known about anybody's folder or zip of images and masks.

    Parameters
    ----------
    path : Path
        It holds ``images/`` and ``masks/`` of the same names. Each number in the masks, 0 too, is
        a class; 255 is not scored, unless it and another are all there is: then they are two.

    Raises
    ------
    DataSetError
        It is not there or not complete, or the masks show one class only.
    """
    published = plain_set(path)
    values: set[int] = set()
    for pair in find_pairs(published, path):
        values |= {int(value) for value in np.unique(_decode(pair.mask, palette=True))}
    if len(values) > 2:
        values -= {_VOID}
    if not 2 <= len(values) <= _MOST_CLASSES:
        raise DataSetError(
            f"The masks of {path} show no classes",
            expected=f"2 to {_MOST_CLASSES} different numbers",
            got=f"{len(values)}: {', '.join(map(str, sorted(values)[:6]))}",
            todo="Save masks as grey or palette PNG whose numbers are the classes, not smoothed.",
        )
    known = np.array(sorted(values))

    def encode(mask: NDArray[Any]) -> NDArray[Any]:
        return np.where(np.isin(mask, known), np.searchsorted(known, mask) + 1, 0)

    return Kind(published, tuple(str(value) for value in known), encode)


def voc_split(split: str, data: Path | None = None) -> tuple[str, ...]:
    """Return the names of a split of PASCAL VOC's segmentation that are at hand, sorted.

    Parameters
    ----------
    split : {"train", "val"}
        Read from ``ImageSets/Segmentation/SPLIT.txt``, or ``SPLIT.txt`` beside ``images/``.
    data : Path, optional
        Folder that holds the sets, by default the data folder.

    Raises
    ------
    DataSetError
        If the set is missing or says nothing about the split.
    """
    published = KINDS["voc2012"].published
    folder = data or data_folder()
    have = {pair.name for pair in find_pairs(published, folder)}
    for path, source in members(published, folder):
        if path == f"{split}.txt" or path.endswith(f"ImageSets/Segmentation/{split}.txt"):
            return tuple(sorted(have & set(_bytes(source).decode().split())))
    raise DataSetError(
        f"PASCAL VOC's {split} split was not found",
        expected=f"ImageSets/Segmentation/{split}.txt, or {split}.txt beside images/",
        got=f"{len(have)} images, but no list",
        todo=f"Get the set again: {published.source}.",
    )


def _part(index: Path, part: str) -> set[str]:
    """Return the names of one kind of picture."""
    try:
        with index.open(encoding="utf-8", newline="") as lines:
            rows = [(row["id"], row["kind"]) for row in csv.DictReader(lines)]
    except (OSError, KeyError) as error:
        raise DataSetError(
            f"{index} is missing or damaged", expected="a table with columns id and kind"
        ) from error
    if part not in {kind for _, kind in rows}:
        kinds = " or ".join(sorted({kind for _, kind in rows}))
        raise DataSetError("Unknown part of the set", expected=kinds, got=repr(part))
    return {name for name, kind in rows if kind == part}


def _decode(source: Source, *, palette: bool = False) -> NDArray[Any]:
    """Return a picture: grey, colour without alpha or, of a mask, its stored numbers."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(_bytes(source))) as picture:
            plain = ("L", "I", "I;16", "I;16B", "F", "RGB", *(("P",) if palette else ()))
            mode = "L" if picture.mode == "1" else "RGB"
            found = picture if picture.mode in plain else picture.convert(mode)
            array = np.asarray(found)
    except Exception as error:  # of a damaged file, libraries raise what comes
        raise DataSetError(
            f"A picture cannot be read: {source.container.name} {source.member or ''}".rstrip(),
            got=f"{type(error).__name__}: {error}",
            todo="Get the set again.",
        ) from error
    return array[..., 0] if palette and array.ndim == 3 else array


def _eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a picture with 8 bits per channel; a deeper one is stretched as the tool does."""
    if image.dtype == np.uint8:
        return image
    from napari_cas.engine.preprocess import Scaling

    planes = np.moveaxis(np.atleast_3d(image), 2, 0)
    scaled = Scaling.of_image(planes).apply(planes).clip(0, 255).round().astype(np.uint8)
    return np.moveaxis(scaled, 0, 2).reshape(image.shape)


def _bytes(source: Source) -> bytes:
    if source.member is None:
        return source.container.read_bytes()
    with zipfile.ZipFile(source.container) as archive:
        return archive.read(source.member)
