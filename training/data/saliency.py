"""The saliency sets of the paper, found in the layouts they are published in.

Every set is looked for as a folder or zip of ``images/`` and ``masks/`` (as this project's own
conversions have it) and in its authors' layout; see :data:`SETS` for both. Counts are checked
against the published ones, since a truncated set would pass unnoticed into a table; what lies in a
zip is compared with its checksum as it is read. Anybody's own pictures are a set, too:
:func:`plain_set`.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.errors import ProjectError
from training.data.store import MappedSet, Pair, Source, digest_of, map_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PART = (
    "To use a part on purpose, name its folder or zip of images/ and masks/: "
    "`python -m training table 3 --small --train PART --test PART`."
)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class DataSetError(ProjectError):
    """A data set that is not there, or not complete."""


@dataclass(frozen=True)
class Layout:
    """Where images and masks lie: patterns inside the folder or zip; ``*`` matches ``/``."""

    images: str
    masks: str


PLAIN = Layout("images/*", "masks/*")
_NESTED = Layout("*/images/*", "*/masks/*")
"""As a zip has it that was made of a folder."""


@dataclass(frozen=True)
class SaliencySet:
    """What is known about a published set.

    Attributes
    ----------
    name : str
        As in the tables.
    count : int
        Published number of image and mask pairs.
    roots : tuple of str
        Names of the folder or zips (patterns), relative to the data folder.
    layouts : tuple of Layout
        Tried in turn.
    source : str
        Where to get it.
    at : Path or None
        The folder or zip itself, of a set that is looked for nowhere else.
    """

    name: str
    count: int
    roots: tuple[str, ...]
    layouts: tuple[Layout, ...]
    source: str
    at: Path | None = None


SETS: dict[str, SaliencySet] = {
    found.name: found
    for found in (
        SaliencySet(
            "DUTS-TR",
            10553,
            ("DUTS-TR*", "duts_tr*"),
            (PLAIN, Layout("*DUTS-TR-Image/*.jpg", "*DUTS-TR-Mask/*.png")),
            "saliencydetection.net/duts (Wang et al., CVPR 2017): DUTS-TR.zip",
        ),
        SaliencySet(
            "DUTS-TE",
            5019,
            ("DUTS-TE*", "duts_te*"),
            (PLAIN, Layout("*DUTS-TE-Image/*.jpg", "*DUTS-TE-Mask/*.png")),
            "saliencydetection.net/duts (Wang et al., CVPR 2017): DUTS-TE.zip",
        ),
        SaliencySet(
            "ECSSD",
            1000,
            ("ECSSD*", "ecssd*"),
            (PLAIN, Layout("*images/*.jpg", "*ground_truth_mask/*.png")),
            "the ECSSD page of CUHK (Yan et al., CVPR 2013): images.zip and ground_truth_mask.zip",
        ),
        SaliencySet(
            "MSRA-B",
            5000,
            ("MSRA-B*", "msra_b*"),
            (PLAIN, Layout("*.jpg", "*.png")),
            "Jiang et al., CVPR 2013 (DRFI): MSRA-B.zip, images and masks side by side",
        ),
        SaliencySet(
            "MSRA10K",
            10000,
            ("MSRA10K*", "msra10k*"),
            (PLAIN, Layout("*Imgs/*.jpg", "*Imgs/*.png")),
            "mmcheng.net/msra10k (Cheng et al., TPAMI 2015): MSRA10K_Imgs_GT.zip",
        ),
        SaliencySet(
            "PASCAL-S",
            850,
            ("PASCAL-S*", "pascal_s*", "salObj*"),
            (PLAIN, Layout("*imgs/pascal/*.jpg", "*masks/pascal/*.png")),
            "cbs.ic.gatech.edu/salobj (Li et al., CVPR 2014): salObj.zip",
        ),
        SaliencySet(
            "HKU-IS",
            4447,
            ("HKU-IS*", "hku_is*"),
            (PLAIN, Layout("*imgs/*.png", "*gt/*.png")),
            "Li and Yu, CVPR 2015 (MDF): HKU-IS.rar, unpacked",
        ),
        SaliencySet(
            "THUR15K",
            6232,
            ("THUR15K*", "THUR15000*", "thur15k*"),
            (PLAIN, Layout("*Src/*.jpg", "*Src/*.png"), Layout("*.jpg", "*.png")),
            "mmcheng.net/gsal (Cheng et al., 2014): THUR15000.zip; only images with a mask count",
        ),
        SaliencySet(
            "DUT-OMRON",
            5168,
            ("DUT-OMRON*", "dut_omron*"),
            (PLAIN, Layout("*DUT-OMRON-image/*.jpg", "*pixelwiseGT-new-PNG/*.png")),
            "saliencydetection.net/dut-omron (Yang et al., CVPR 2013): images, pixelwise masks",
        ),
        SaliencySet(
            "SOD",
            300,
            ("SOD", "SOD.zip", "sod", "sod.zip", "sod_256*"),
            (PLAIN, Layout("*Imgs/*.jpg", "*Imgs/*.png"), Layout("*.jpg", "*.png")),
            "Movahedi and Elder, 2010, with the masks of Jiang et al.; images are those of BSDS300",
        ),
    )
}
"""The published sets by name."""


def data_folder() -> Path:
    """Return the folder of data sets: ``NAPARI_CAS_DATA``, else ``../shared/data``."""
    named = os.environ.get("NAPARI_CAS_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"


def plain_set(path: Path) -> SaliencySet:
    """Return what is known about anybody's folder or zip of ``images/`` and ``masks/``.

    Its name ends in a digest of the files' names, sizes and times, so that runs and scores of other
    pictures at the same place are never taken for those of these.

    Parameters
    ----------
    path : Path
        The folder or zip; masks are named like their images and salient above 127.

    Raises
    ------
    DataSetError
        If it is not there, or an image has no mask or a mask no image.
    """
    layout = f"a folder or zip holding {PLAIN.images} and {PLAIN.masks} of the same names"
    if not (path.is_dir() or (path.suffix == ".zip" and path.is_file())):
        raise DataSetError(
            "There is no such data set", expected=f"{layout}, or one of {', '.join(SETS)}",
            got=str(path),
        )  # fmt: skip
    everything = _members([path])
    layouts = (PLAIN, _NESTED)
    pairs = next((found for x in layouts if (found := pair_up(everything, x))), [])
    _insist_on_all(path, everything, pairs, expected=layout)
    name = f"{path.stem}-{digest_of(pairs, 0)[:8]}"
    return SaliencySet(name, len(pairs), (path.name,), layouts, str(path), path)


def _insist_on_all(
    path: Path, everything: Sequence[tuple[str, Source]], pairs: Sequence[Pair], expected: str
) -> None:
    """Refuse a plain set that is empty, or of which some pictures would silently be left out."""
    paired = {source for pair in pairs for source in (pair.image, pair.mask)}
    patterns = [pattern for x in (PLAIN, _NESTED) for pattern in (x.images, x.masks)]
    alone = sorted(
        name
        for name, source in everything
        if _is_picture(name) and source not in paired and any(fnmatch(name, p) for p in patterns)
    )
    if pairs and not alone:
        return
    shown = (
        ", such as " + ", ".join(alone[:3]) + (" and more" if len(alone) > 3 else "")
        if alone
        else ""
    )
    raise DataSetError(
        f"{path} is not complete", expected=expected,
        got=f"pairs: {len(pairs)}, pictures without a partner: {len(alone)}{shown}",
        todo="Add what is missing, or take the pictures away.",
    )  # fmt: skip


def open_set(
    name: str | SaliencySet,
    *,
    data: Path | None = None,
    size: int = 256,
    cache: Path | None = None,
    check_count: bool = True,
    take: Sequence[int] | None = None,
) -> MappedSet:
    """Return a saliency set as memory maps, decoding it once.

    Parameters
    ----------
    name : str or SaliencySet
        A key of :data:`SETS`, or what :func:`plain_set` returned.
    data : Path, optional
        Folder that holds the sets, by default :func:`data_folder`.
    size : int, default 256
        Side of the square pictures.
    cache : Path, optional
        Folder of the decoded maps.
    check_count : bool, default True
        Insist on the published number of pictures.
    take : sequence of int, optional
        Decode only these, counted in the order of their names.

    Raises
    ------
    DataSetError
        If the set is unknown, not there (says where to get it and where to put it) or incomplete.
    """
    known = name if isinstance(name, SaliencySet) else known_set(name)
    folder = data or data_folder()
    pairs = all_pairs(known, folder, _PART) if check_count else find_pairs(known, folder)
    if take is not None:
        pairs = [pairs[i] for i in take]
    return map_set(known.name, pairs, size=size, cache=cache)


def set_digest(known: SaliencySet, data: Path | None, size: int, take: Sequence[int]) -> str:
    """Return the digest of what :func:`open_set` would return, without decoding anything."""
    pairs = all_pairs(known, data or data_folder(), _PART)
    return digest_of([pairs[i] for i in take], size)


def known_set(name: str) -> SaliencySet:
    """Return a published set by its name.

    Raises
    ------
    DataSetError
        If there is none of that name.
    """
    if name not in SETS:
        raise DataSetError("Unknown saliency set", expected=" or ".join(SETS), got=repr(name))
    return SETS[name]


def all_pairs(known: SaliencySet, folder: Path, part: str = "") -> list[Pair]:
    """Return a set's images with their masks, as many as were published, sorted by name.

    Parameters
    ----------
    known : SaliencySet
        The set.
    folder : Path
        Folder of the data sets.
    part : str
        What to do if only a part of the set is wanted, for the error.

    Raises
    ------
    DataSetError
        If nothing in `folder` looks like the set, or there are more or fewer.
    """
    pairs = find_pairs(known, folder)
    if len(pairs) != known.count:
        raise DataSetError(
            f"{known.name} is not complete",
            expected=f"{known.count} images with masks", got=f"{len(pairs)} in {folder}",
            todo=f"Get it again: {known.source}. {part}".rstrip(),
        )  # fmt: skip
    return pairs


def find_pairs(known: SaliencySet, folder: Path) -> list[Pair]:
    """Return a set's images with their masks, sorted by name.

    Raises
    ------
    DataSetError
        If nothing in `folder` looks like the set.
    """
    roots = _roots(known, folder)
    for layout in known.layouts:
        pairs = pair_up(_members(roots), layout)
        if pairs:
            return pairs
    tried = "; ".join(f"{x.images} with {x.masks}" for x in known.layouts)
    raise DataSetError(
        f"{known.name} was not found",
        expected=f"{' or '.join(known.roots)} in {folder}, a folder or zips, holding {tried}",
        got=", ".join(str(r.name) for r in roots) or "nothing of that name",
        todo=f"Get it from {known.source}, or set NAPARI_CAS_DATA to the folder that holds it.",
    )


def members(known: SaliencySet, folder: Path) -> list[tuple[str, Source]]:
    """Return every file of a set: its path inside the set, and where it is."""
    return _members(_roots(known, folder))


def pair_up(members: Iterable[tuple[str, Source]], layout: Layout) -> list[Pair]:
    """Return the images that have a mask of the same name, sorted by name."""
    images: dict[str, Source] = {}
    masks: dict[str, Source] = {}
    for path, source in members:
        if not _is_picture(path):
            continue
        if fnmatch(path, layout.images):
            images[source.stem] = source
        # Where image and mask patterns differ by suffix only, each picture fits just one.
        elif fnmatch(path, layout.masks):
            masks[source.stem] = source
    return [Pair(name, images[name], masks[name]) for name in sorted(images.keys() & masks.keys())]


def _is_picture(path: str) -> bool:
    return path.lower().endswith(IMAGE_SUFFIXES) and "__MACOSX" not in path


def _roots(known: SaliencySet, folder: Path) -> list[Path]:
    """Return the folders and zips of a set."""
    if known.at is not None:
        return [known.at]
    found: set[Path] = set()
    for pattern in known.roots:
        found |= {p for p in folder.glob(pattern) if p.is_dir() or p.suffix == ".zip"}
    return sorted(found)


def _members(roots: Iterable[Path]) -> list[tuple[str, Source]]:
    """Return the path inside its root and the source of every file."""
    members: list[tuple[str, Source]] = []
    for root in roots:
        if root.is_dir():
            files = (p for p in root.rglob("*") if p.is_file())
            members += [(p.relative_to(root).as_posix(), Source(p)) for p in files]
            continue
        try:
            with zipfile.ZipFile(root) as archive:
                members += [(name, Source(root, name)) for name in archive.namelist()]
        except zipfile.BadZipFile as error:
            raise DataSetError(
                f"{root} is damaged", got=str(error), todo="Fetch it again."
            ) from error
    return members
