"""Score a folder of maps against a folder of masks: anybody's results on the same footing.

Saliency maps are grey pictures and masks binary ones. Segmentations are label pictures (integers,
PNG or TIFF, or NPY; of a palette, the numbers) against label pictures or BSDS500's .mat files.
Files are paired by name without suffix; of masks that lie among their photographs, as MSRA-B's do,
the PNG is the mask.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import InputError
from napari_cas.metrics import saliency as sal
from napari_cas.metrics.boundaries import BoundaryCounts, boundary_counts, boundary_of, thinned
from napari_cas.metrics.regions import (
    adjusted_rand_index,
    covering_counts,
    probabilistic_rand_index,
    variation_of_information,
)
from training.data.saliency import DataSetError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".npy", ".mat")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("maps", type=Path, metavar="MAPS", help="folder of what is scored")
    parser.add_argument("masks", type=Path, metavar="MASKS", help="folder of the ground truth")
    parser.add_argument("--kind", choices=("saliency", "regions"), default="saliency")
    parser.add_argument(
        "--no-stretch", action="store_true", help="take grey values as they are, not to 0..1"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="score what there is if maps are missing"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Score all pairs.

    Returns
    -------
    dict
        Scores, the number of images and of those that were resized to their mask.

    Raises
    ------
    DataSetError
        If there are no pairs, or a mask has no map.
    """
    pairs = pair(args.maps, args.masks, allow_missing=args.allow_missing)
    if args.kind == "regions":
        return score_regions(pairs)
    return score_saliency(pairs, stretch=not args.no_stretch)


def pair(maps: Path, masks: Path, *, allow_missing: bool = False) -> list[tuple[Path, Path]]:
    """Return (map, mask) paths by name, sorted.

    Raises
    ------
    DataSetError
        If a folder is missing, there are no pairs, a mask has no map, or a map is there twice.
    """
    for folder in (maps, masks):
        if not folder.is_dir():
            raise DataSetError(
                f"No folder {folder}", expected="a folder of maps, then a folder of masks"
            )
    _refuse_doubles(maps)
    found, truths = _by_stem(maps), _by_stem(masks)
    names = sorted(found.keys() & truths.keys())
    missing = sorted(truths.keys() - found.keys())
    if not truths:
        raise DataSetError(f"No masks in {masks}", expected=f"files of {', '.join(SUFFIXES)}")
    if not names or (missing and not allow_missing):
        raise DataSetError(
            "Maps and masks do not pair up by name",
            expected=f"a map for each of {len(truths)} masks",
            got=f"{len(names)} pairs; no map for {', '.join(missing[:3])}"
            + ("…" if len(missing) > 3 else ""),
            todo="Pass --allow-missing to score what there is." if names else "",
        )
    return [(found[name], truths[name]) for name in names]


def score_saliency(pairs: list[tuple[Path, Path]], *, stretch: bool = True) -> dict[str, Any]:
    """Return the mean saliency scores of (map, mask) pairs.

    `max_f` is the largest F of precision and recall averaged over images, as most papers have it;
    `max_mean_f` the largest mean of the images' own F.
    """
    rows, resized = [], 0
    curves = np.zeros((4, sal.THRESHOLDS))
    for found_path, mask_path in _progress(pairs):
        truth = _binary(read_picture(mask_path))
        found, changed = _read_map(found_path, truth.shape, stretch=stretch)
        resized += changed
        row, curve = saliency_scores(found, truth)
        rows.append(row)
        curves += curve
    precision, recall, f, e = curves / len(rows)
    return {
        "images": len(rows),
        "resized": resized,
        "max_f": float(sal.f_of(precision, recall).max()),
        "max_mean_f": float(f.max()),
        "mean_f": float(f.mean()),
        "max_e": float(e.max()),
        "mean_e": float(e.mean()),
    } | {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _read_map(
    path: Path, shape: tuple[int, ...], *, stretch: bool
) -> tuple[NDArray[np.float64], bool]:
    """Return a map from 0 to 1 at the size of its mask, and whether it was resized."""
    found, changed = _fit(read_picture(path), shape)
    try:
        return sal.stretch(found) if stretch else sal.as_map(found), changed
    except InputError as error:
        raise DataSetError(
            f"{path} cannot be scored", expected=error.expected, got=error.got
        ) from error


def saliency_scores(
    found: NDArray[np.float64], truth: NDArray[np.bool_]
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Return the scores of one map, and its (4, 256) curves: precision, recall, F, E."""
    mask = found >= sal.adaptive_threshold(found)
    precision, recall = sal.precision_recall(found, truth)
    curves = np.stack([precision, recall, sal.f_of(precision, recall), sal.e_curve(found, truth)])
    return {
        "adaptive_f": sal.f_measure(mask, truth),
        "weighted_f": sal.weighted_f_measure(found, truth),
        "mae": sal.mean_absolute_error(found, truth),
        "s": sal.s_measure(found, truth),
        "adaptive_e": sal.e_measure(mask, truth),
    }, curves


def score_regions(pairs: list[tuple[Path, Path]]) -> dict[str, Any]:
    """Return region and contour scores of (labels, truth) pairs.

    Covering and contours pool pixels over images, the others are means over images; a truth in a
    .mat file counts with all its annotators. Nothing is ignored.
    """
    rows, boundary, covered, pixels = [], BoundaryCounts(), 0.0, 0.0
    for found_path, truth_path in _progress(pairs):
        truths = read_partitions(truth_path)
        found, _ = _fit(read_picture(found_path, labels=True), truths[0].shape, nearest=True)
        contours = [thinned(boundary_of(t)) for t in truths]
        boundary += boundary_counts(boundary_of(found), contours)
        hit, total = covering_counts(truths, found, ignore=None)
        covered, pixels = covered + hit, pixels + total
        aris = [adjusted_rand_index(t, found, ignore=None) for t in truths]
        rows.append(
            {
                "probabilistic_rand_index": probabilistic_rand_index(truths, found),
                "variation_of_information": variation_of_information(truths, found, ignore=None),
                "adjusted_rand_index": float(np.mean(aris)),
            }
        )
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    edges = {
        "boundary_precision": boundary.precision,
        "boundary_recall": boundary.recall,
        "boundary_f": boundary.f,
    }
    return {"images": len(rows), "covering": covered / pixels} | means | edges


def read_picture(path: Path, *, labels: bool = False) -> NDArray[Any]:
    """Read a picture or .npy as (Y, X); colour pictures must be grey.

    Parameters
    ----------
    path : Path
        The file.
    labels : bool
        Of a picture with a palette, take the numbers stored, not the colours they are shown in.

    Raises
    ------
    DataSetError
        If it cannot be read, is not grey or, as labels, no integers.
    """
    array = _stored(path, labels=labels)
    if array.ndim == 3 and array.shape[2] <= 4:
        colours = array[..., :3] if array.shape[2] > 2 else array[..., :1]  # without alpha
        if (colours != colours[..., :1]).any():
            raise DataSetError(f"{path} is coloured", expected="grey values or labels")
        array = colours[..., 0]
    if array.ndim != 2 or not array.size:
        raise DataSetError(f"{path} is not a picture", expected="(Y, X)", got=str(array.shape))
    if array.dtype.kind not in ("bui" if labels else "buif"):
        expected = "integers" if labels else "grey values"
        raise DataSetError(f"{path} cannot be scored", expected=expected, got=str(array.dtype))
    return array.astype(np.uint8) * 255 if array.dtype == bool else array


def _stored(path: Path, *, labels: bool) -> NDArray[Any]:
    import imageio.v3 as iio
    from PIL import Image

    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path))
        if labels:
            with Image.open(path) as picture:
                return np.asarray(picture)
        # naming the plugin keeps imageio from trying all others on a damaged file
        return np.asarray(iio.imread(path, plugin="pillow"))
    except Exception as error:  # of a damaged file, libraries raise what comes
        raise DataSetError(f"{path} cannot be read", got=str(error)) from error


def read_partitions(path: Path) -> list[NDArray[Any]]:
    """Read a truth: label picture, or all segmentations of a BSDS500 .mat file.

    Raises
    ------
    DataSetError
        If it cannot be read, or a .mat file is none of BSDS500's.
    """
    if path.suffix.lower() != ".mat":
        return [read_picture(path, labels=True)]
    from scipy.io import loadmat

    try:
        cells = loadmat(path)["groundTruth"].ravel()
        return [np.asarray(cell[0, 0]["Segmentation"], np.int32) for cell in cells]
    except Exception as error:  # of a damaged file, libraries raise what comes
        raise DataSetError(
            f"{path} cannot be read", expected="groundTruth{k}.Segmentation, as in BSDS500",
            got=f"{type(error).__name__}: {error}",
        ) from error  # fmt: skip


def _binary(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a published mask as booleans, whether it was written as 0/1 or 0/255."""
    return np.asarray(mask > mask.max() / 2 if mask.max() > 0 else mask > 0, np.bool_)


def _fit(
    picture: NDArray[Any], shape: tuple[int, ...], *, nearest: bool = False
) -> tuple[NDArray[Any], bool]:
    """Return a picture at the size of its truth, and whether that changed it."""
    if picture.shape == shape:
        return picture, False
    from skimage.transform import resize

    order = 0 if nearest else 1
    sized = resize(picture, shape, order=order, preserve_range=True, anti_aliasing=not nearest)
    return np.asarray(np.rint(sized) if picture.dtype.kind in "iu" else sized, picture.dtype), True


def _by_stem(folder: Path) -> dict[str, Path]:
    return {p.stem: p for p in _pictures(folder)}


def _pictures(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES]


def _refuse_doubles(folder: Path) -> None:
    """Refuse maps in two formats: nothing says which of them is meant."""
    seen: dict[str, Path] = {}
    for path in _pictures(folder):
        before = seen.setdefault(path.stem, path)
        if before is not path:
            raise DataSetError(
                f"Two maps are called {path.stem} in {folder}",
                expected="one map for each mask",
                got=f"{before.name} and {path.name}",
                todo="Keep the one that shall be scored, and move the other to another folder.",
            )


def _progress(pairs: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    from tqdm import tqdm

    shown: Callable[..., Any] = tqdm
    return shown(pairs, desc="scoring", unit="image", disable=None)  # type: ignore[no-any-return]
