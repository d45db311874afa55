"""Make `sample_data/` anew: from DSB2018 (a folder) and from images in scikit-image's wheel.

Strokes are polylines put down by hand, as an annotator would scribble. Truths come from the data
set where it has them; the rest is drawn or thresholded here, and doubtful pixels are left out (0).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.saliency import DataSetError, data_folder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

Line = tuple[int, int, list[tuple[float, float]]]
"""Region id, brush width in pixels, corner points (x, y)."""

DSB = "2018 Data Science Bowl, stage 1 training set (Broad Bioimage Benchmark Collection BBBC038v1)"
CC0 = "CC0-1.0"


@dataclass
class Made:
    """One sample as arrays and words; a list of planes each."""

    name: str
    title: str
    description: str
    source: str
    classes: dict[int, str]
    images: list[NDArray[np.uint8]]
    strokes: list[list[Line]]
    truths: list[NDArray[np.uint8]]
    axes: str
    license: str = CC0
    extra: dict[str, Any] = field(default_factory=dict)


def draw(shape: tuple[int, int], lines: Sequence[Line]) -> NDArray[np.uint8]:
    """Return the (Y, X) map of polylines painted with round brushes, later ones on top."""
    from PIL import Image, ImageDraw

    picture = Image.new("L", (shape[1], shape[0]), 0)
    pen = ImageDraw.Draw(picture)
    for region, width, points in lines:
        pen.line(points, fill=region, width=width, joint="curve")
        for x, y in (points[0], points[-1]):
            r = (width - 1) / 2
            pen.ellipse((x - r, y - r, x + r, y + r), fill=region)
    return np.asarray(picture, dtype=np.uint8).copy()


def polygon(shape: tuple[int, int], points: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """Return the (Y, X) mask of a polygon of (x, y) corners."""
    from skimage.draw import polygon2mask

    inside: NDArray[np.bool_] = polygon2mask(shape, [(y, x) for x, y in points])
    return inside


def ellipse(
    shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]
) -> NDArray[np.bool_]:
    """Return the (Y, X) mask of an upright ellipse; centre and radii are (x, y)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 <= 1
    return np.asarray(inside, dtype=bool)


def shrink(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Erode a mask by `by` pixels, not from the image's border."""
    from scipy.ndimage import distance_transform_edt

    distance: NDArray[np.float64] = distance_transform_edt(np.pad(mask, by + 1, mode="edge"))
    inner = distance[by + 1 : -by - 1, by + 1 : -by - 1] > by
    return np.asarray(inner, dtype=bool)


def _read(path: Path) -> NDArray[Any]:
    """Read a picture, or say where DSB2018 comes from."""
    import imageio.v3 as iio

    if not path.is_file():
        raise DataSetError(
            "DSB2018 was not found",
            expected=f"{path} (images/<id>.png, labels/<id>.png)",
            todo="Get stage1_train from BBBC038 and merge each image's masks into one label image.",
        )
    return np.asarray(iio.imread(path))


def _nuclei(dsb: Path, name: str) -> NDArray[np.bool_]:
    return np.asarray(_read(dsb / "labels" / f"{name}.png") > 0, dtype=bool)


def cells(dsb: Path) -> Made:
    """Bright-field cells: clear background, pale cytoplasm, dark nuclei."""
    from scipy.ndimage import binary_fill_holes, gaussian_filter
    from skimage.measure import label

    name, box = "1a1155256916", np.s_[206:590, 282:666]
    image = _read(dsb / "images" / f"{name}.png")
    image = (image if image.ndim == 2 else image[..., 0])[box]
    nuclei = _nuclei(dsb, name)[box]
    smooth = gaussian_filter(image.astype(float), 1.5)
    parts = label(binary_fill_holes(smooth < 216))
    large = np.flatnonzero(np.bincount(parts.ravel()) > 500)
    body = np.isin(parts, large[large > 0]) | nuclei
    truth = np.zeros(image.shape, np.uint8)
    truth[shrink(~body, 2)], truth[shrink(body, 2)] = 1, 2
    truth[~shrink(~nuclei, 1)] = 0
    truth[shrink(nuclei, 1)] = 3
    strokes: list[Line] = [
        (1, 6, [(20, 20), (70, 26), (110, 16)]),
        (1, 6, [(300, 30), (345, 60), (352, 130)]),
        (1, 6, [(205, 340), (230, 290), (215, 262)]),
        (2, 6, [(30, 70), (45, 110), (80, 140)]),
        (2, 6, [(190, 60), (232, 68), (262, 95), (264, 125)]),
        (2, 6, [(245, 268), (285, 262), (300, 235)]),
        (3, 5, [(80, 96), (91, 105)]),
        (3, 5, [(157, 72), (166, 82)]),
        (3, 5, [(144, 156), (156, 161)]),
    ]
    return Made(
        "cells",
        "Cells in bright field",
        "Grey bright-field micrograph of stained squamous cells: background, cytoplasm, nuclei.",
        f"{DSB}, image {name}, cropped; nuclei as in the data set, cytoplasm by a threshold",
        {1: "background", 2: "cytoplasm", 3: "nucleus"},
        [image],
        [strokes],
        [truth],
        "yx",
    )


def tissue(dsb: Path) -> Made:
    """Colour histology: red fibre, pale tissue, dark nuclei."""
    from scipy.ndimage import gaussian_filter

    name = "4193474b2f1c"
    image = _read(dsb / "images" / f"{name}.png")[..., :3]
    labels = _read(dsb / "labels" / f"{name}.png")
    nuclei = labels > 0
    red = gaussian_filter(image.astype(float), (1.5, 1.5, 0))
    fibre = (red[..., 2] < 125) & (red[..., 0] > 170)
    fibre |= (red[..., 0] - red[..., 2] > 75) & ~nuclei
    truth = np.zeros(labels.shape, np.uint8)
    pale = (red[..., 1] > 110) & ~fibre
    truth[shrink(fibre & ~nuclei, 2)], truth[shrink(pale & ~nuclei, 2)] = 1, 2
    dark = [i for i in np.unique(labels)[1:] if np.median(red[labels == i][:, 1]) < 75]
    truth[shrink(np.isin(labels, dark), 1)] = 3
    strokes: list[Line] = [
        (1, 6, [(120, 10), (150, 50), (185, 90), (210, 150)]),
        (1, 6, [(235, 70), (265, 130), (290, 190)]),
        (2, 6, [(95, 65), (130, 85), (160, 125)]),
        (2, 6, [(15, 105), (60, 145), (95, 185)]),
        (2, 6, [(270, 50), (300, 70), (308, 40)]),
        (3, 6, [(42, 98), (58, 95), (66, 106)]),
        (3, 6, [(160, 231), (172, 238)]),
        (3, 5, [(268, 236), (280, 230)]),
    ]
    return Made(
        "tissue",
        "Stained tissue in colour",
        "Haematoxylin and eosin histology: red fibre, pale tissue, dark nuclei.",
        f"{DSB}, image {name}; dark nuclei as in the data set, the rest by colour",
        {1: "fibre", 2: "tissue", 3: "nucleus"},
        [image],
        [strokes],
        [truth],
        "yxc",
    )


def nuclei(dsb: Path) -> Made:
    """Fluorescence: nuclei on dark background."""
    name = "c169a7782a69"
    strokes: list[Line] = [
        (1, 6, [(150, 30), (190, 60), (160, 85), (110, 100)]),
        (1, 6, [(170, 230), (180, 290), (165, 335)]),
        (1, 6, [(300, 190), (320, 250), (330, 300)]),
        (2, 6, [(30, 38), (55, 25), (70, 38)]),
        (2, 6, [(45, 152), (62, 140)]),
        (2, 6, [(105, 205), (108, 245)]),
        (2, 6, [(255, 28), (285, 45), (300, 40)]),
    ]
    return Made(
        "nuclei",
        "Nuclei in fluorescence",
        "Nuclei stained with a fluorescent dye on a dark background.",
        f"{DSB}, image {name}",
        {1: "background", 2: "nucleus"},
        [_read(dsb / "images" / f"{name}.png")],
        [strokes],
        [np.where(_nuclei(dsb, name), 2, 1).astype(np.uint8)],
        "yx",
    )


def stack(dsb: Path) -> Made:
    """Four fields of one kind; strokes on the first two, with other ids on each."""
    names = ("1d4a5e729bb9", "2b50b1e3fa5c", "a3a1b8f9794e", "2ad489c11ed8")
    first: list[Line] = [
        (1, 5, [(60, 20), (120, 40), (170, 60)]),
        (1, 5, [(20, 205), (55, 190), (80, 220)]),
        (2, 4, [(97, 170), (102, 176)]),
        (2, 4, [(214, 166), (220, 174)]),
        (2, 4, [(24, 95), (36, 98)]),
        (2, 4, [(64, 162), (70, 166)]),
    ]
    second: list[Line] = [
        (1, 4, [(10, 54), (20, 48)]),
        (1, 4, [(115, 193), (122, 201)]),
        (1, 4, [(78, 119), (90, 121)]),
        (2, 5, [(50, 20), (60, 80), (40, 150)]),
        (2, 5, [(220, 130), (190, 190), (215, 220)]),
    ]
    return Made(
        "stack",
        "Nuclei, four fields",
        "Four fluorescence fields in one stack. The first two are painted, and a region's number "
        "means something else on each: they share no names, only appearances.",
        f"{DSB}, images {', '.join(names)}",
        {1: "background", 2: "nucleus"},
        [_read(dsb / "images" / f"{n}.png") for n in names],
        [first, second, [], []],
        [np.where(_nuclei(dsb, n), 2, 1).astype(np.uint8) for n in names],
        "tyx",
    )


def coffee(_: Path) -> Made:
    """Photograph: wood, red and white ceramic, coffee."""
    from PIL import Image
    from skimage import data

    size = (480, 320)
    image = np.asarray(Image.fromarray(data.coffee()).resize(size, Image.Resampling.LANCZOS))
    big = (400, 600)
    saucer = ellipse(big, (278, 222), (201, 166))
    rim, inner = ellipse(big, (291, 113), (118, 95)), ellipse(big, (292, 113), (100, 82))
    coffee_ = ellipse(big, (287, 148), (85, 46)) & inner
    handle_end = [(395, 60), (432, 60), (424, 100), (388, 232)]
    bowl = [(412, 262), (410, 300), (380, 332), (340, 330), (320, 290), (330, 255)]
    spoon = polygon(big, [*handle_end, *bowl, (312, 252), (325, 230), (372, 232)])
    body = polygon(
        big,
        [
            (172, 110),
            (180, 180),
            (222, 262),
            (260, 285),
            (310, 288),
            (375, 230),
            (405, 150),
            (400, 100),
        ],
    )
    handle = polygon(big, [(225, 225), (265, 235), (258, 285), (228, 312), (190, 300), (205, 250)])
    dark = polygon(big, [(0, 0), (165, 0), (0, 110)])
    shadow = polygon(big, [(78, 240), (110, 340), (200, 400), (330, 400), (480, 330), (480, 230)])
    kinds = np.full(big, 1, np.uint8)
    kinds[shadow | dark] = 0
    kinds[saucer] = 2
    kinds[body | handle] = 2
    kinds[rim] = 3
    kinds[coffee_] = 4
    edges = ~np.logical_or.reduce([shrink(kinds == k, 4) for k in range(5)])
    kinds[edges | spoon] = 0
    truth = np.asarray(Image.fromarray(kinds).resize(size, Image.Resampling.NEAREST))
    strokes: list[Line] = [
        (1, 7, [(340, 20), (400, 60), (440, 120), (450, 190)]),
        (1, 7, [(15, 130), (45, 200), (40, 270)]),
        (2, 7, [(90, 150), (100, 215), (150, 270)]),
        (2, 7, [(340, 140), (350, 200), (335, 245)]),
        (2, 7, [(185, 180), (222, 193), (268, 190)]),
        (3, 6, [(150, 80), (170, 46), (210, 36), (290, 60)]),
        (3, 6, [(152, 120), (200, 156), (258, 160)]),
        (4, 7, [(190, 125), (230, 138), (270, 130)]),
    ]
    return Made(
        "coffee",
        "A cup of coffee",
        "Colour photograph: wooden table, red ceramic, white ceramic, coffee.",
        "scikit-image's `coffee`, by Rachel Michetti, scaled to 480×320; truth drawn by hand, "
        "borders, spoon and shadows not scored",
        {1: "table", 2: "red ceramic", 3: "white ceramic", 4: "coffee"},
        [image],
        [strokes],
        [truth],
        "yxc",
    )


def textures(_: Path) -> Made:
    """Brick, grass and gravel, put together along curved borders."""
    from PIL import Image
    from skimage import data

    side = 384
    parts = [
        np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
        for picture in (data.brick(), data.grass(), data.gravel())
    ]
    y, x = np.mgrid[:side, :side]
    truth = np.where(x < 150 + 40 * np.sin(y / 50), 1, 2).astype(np.uint8)
    truth[(y > 220 + 30 * np.cos(x / 60)) & (truth == 2)] = 3
    truth[ellipse((side, side), (95, 280), (60, 70))] = 3
    image = np.choose(truth - 1, parts).astype(np.uint8)
    strokes: list[Line] = [
        (1, 8, [(30, 30), (100, 80), (60, 150), (120, 190)]),
        (2, 8, [(230, 40), (330, 80), (260, 140), (350, 180)]),
        (3, 8, [(210, 300), (280, 280), (340, 340)]),
        (3, 8, [(75, 260), (110, 300)]),
    ]
    return Made(
        "textures",
        "Brick, grass and gravel",
        "Three grey textures of much the same brightness, put together along curved borders.",
        "scikit-image's `brick` (CC0Textures), `grass` (linolafett) and `gravel` (CC0Textures), "
        "scaled to 384×384 and put together",
        {1: "brick", 2: "grass", 3: "gravel"},
        [image],
        [strokes],
        [truth],
        "yx",
    )


MAKERS = (cells, tissue, nuclei, stack, coffee, textures)


def _write(made: Made, folder: Path) -> dict[str, Any]:
    """Write a sample's files and return its entry in the index."""
    import imageio.v3 as iio

    (folder / made.name).mkdir(parents=True, exist_ok=True)
    drawn = [
        draw((image.shape[0], image.shape[1]), lines)
        for image, lines in zip(made.images, made.strokes, strict=True)
    ]
    files: dict[str, list[str]] = {}
    for kind, planes in (("image", made.images), ("strokes", drawn), ("truth", made.truths)):
        many = len(planes) > 1
        files[kind] = [
            f"{made.name}/{kind}{f'-{i}' if many else ''}.png" for i in range(len(planes))
        ]
        for path, plane in zip(files[kind], planes, strict=True):
            iio.imwrite(folder / path, plane, optimize=True)
    return {
        "name": made.name,
        "title": made.title,
        "description": made.description,
        "source": made.source,
        "license": made.license,
        "axes": made.axes,
        "scale": None,
        "classes": {str(k): v for k, v in made.classes.items()},
        "files": files,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--dsb", type=Path, default=None, help="folder of DSB2018")
    parser.add_argument("--folder", type=Path, default=None, help="default: sample_data/")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write all samples and the index; return the names."""
    out = args.folder or Path(__file__).resolve().parents[1] / "sample_data"
    dsb = args.dsb or data_folder() / "dsb2018"
    entries = [_write(make(dsb), out) for make in MAKERS]
    text = json.dumps({"format": 1, "samples": entries}, indent=2, ensure_ascii=False)
    (out / "index.json").write_text(text + "\n", encoding="utf-8")
    return {"samples": [entry["name"] for entry in entries]}
