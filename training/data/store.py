"""Decode pictures once: a data set as uint8 memory maps that training reads without waiting.

Decoding and resizing 10,000 pictures costs minutes and would be paid in every epoch; the maps are
written once, outside the repository, and checked by sizes, times and names of what they came from.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import warnings
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

FORMAT = 1


@dataclass(frozen=True)
class Source:
    """One encoded picture: a file, or a member of a zip."""

    container: Path
    member: str | None = None

    @property
    def stem(self) -> str:
        """File name without folders and suffix."""
        return Path(self.member or self.container.name).stem


@dataclass(frozen=True)
class Pair:
    """An image and its ground-truth mask."""

    name: str
    image: Source
    mask: Source


@dataclass(frozen=True)
class MappedSet:
    """A data set in memory maps.

    Attributes
    ----------
    name : str
        As in the tables, such as "DUTS-TE".
    names : tuple of str
        Name of each picture, N of them, sorted.
    images : ndarray
        (N, S, S, 3) uint8 RGB.
    masks : ndarray
        (N, S, S) uint8, 0 to 255 as published; salient is above 127.
    digest : str
        SHA-256 over what the maps were made from; part of every run's record.
    content : str
        Another one, over pixels or annotations that `digest` knows nothing of.
    """

    name: str
    names: tuple[str, ...]
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    digest: str
    content: str = ""

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.names)

    def salient(self, which: NDArray[np.intp] | slice = slice(None)) -> NDArray[np.bool_]:
        """Return the ground truth of some pictures as (n, S, S) booleans."""
        return np.asarray(self.masks[which]) > 127


def cache_folder() -> Path:
    """Return where decoded sets and features lie: ``NAPARI_CAS_CACHE`` or the user's cache."""
    named = os.environ.get("NAPARI_CAS_CACHE")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("napari-cas")) / "training"


def map_set(
    name: str, pairs: Sequence[Pair], *, size: int = 256, cache: Path | None = None
) -> MappedSet:
    """Return a data set as memory maps, decoding it if that was not done before.

    Parameters
    ----------
    name : str
        Name of the set.
    pairs : sequence of Pair
        Its pictures, in the order wanted.
    size : int, default 256
        Side S in pixels (the paper: 256); images are resized bilinearly, masks by nearest.
    cache : Path, optional
        Folder of the maps, by default :func:`cache_folder`.

    Raises
    ------
    ImageError
        If a picture cannot be decoded; names it.
    """
    digest = digest_of(pairs, size)
    folder = (cache or cache_folder()) / f"{name.lower()}-{size}-{digest[:12]}"
    if not (folder / "index.json").is_file():
        _decode(name, pairs, size, folder)
    index = json.loads((folder / "index.json").read_text())
    return MappedSet(
        name=name,
        names=tuple(index["names"]),
        images=np.load(folder / "images.npy", mmap_mode="r"),
        masks=np.load(folder / "masks.npy", mmap_mode="r"),
        digest=digest,
    )


def digest_of(pairs: Sequence[Pair], size: int) -> str:
    """Return a digest of what would be decoded at a size: names, containers' sizes and times."""
    made = hashlib.sha256(f"{FORMAT} {size}".encode())
    for container in sorted({s.container for p in pairs for s in (p.image, p.mask)}):
        state = container.stat()
        made.update(f"{container.name} {state.st_size} {int(state.st_mtime)}\n".encode())
    for pair in pairs:
        made.update(f"{pair.name} {pair.image.member} {pair.mask.member}\n".encode())
    return made.hexdigest()


def content_digest(arrays: Iterable[NDArray[np.generic]]) -> str:
    """Return a digest of what arrays hold."""
    made = hashlib.sha256()
    for array in arrays:
        made.update(f"{array.shape} {array.dtype}".encode() + array.tobytes())
    return made.hexdigest()


def _decode(name: str, pairs: Sequence[Pair], size: int, folder: Path) -> None:
    """Decode all pictures into a temporary folder and rename it when complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        shape = (len(pairs), size, size)
        images = np.lib.format.open_memmap(made / "images.npy", "w+", np.uint8, (*shape, 3))
        masks = np.lib.format.open_memmap(made / "masks.npy", "w+", np.uint8, shape)
        for i, (image, mask) in enumerate(_decoded(name, pairs, size)):
            images[i], masks[i] = image, mask
        images.flush()
        masks.flush()
        (made / "index.json").write_text(json.dumps({"names": [p.name for p in pairs]}))
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        if not (folder / "index.json").is_file():  # else another process was faster
            raise


def _decoded(
    name: str, pairs: Sequence[Pair], size: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield every image and mask, resized; warn where the two do not lie on each other.

    No error, for published sets are known to have a few such pairs.
    """
    from tqdm import tqdm

    unlike: list[str] = []
    with ExitStack() as stack:
        archives: dict[Path, zipfile.ZipFile] = {}
        for pair in tqdm(
            pairs, desc=f"Decoding {name}", unit="picture", mininterval=2, disable=None
        ):
            for source in (pair.image, pair.mask):
                if source.member is not None and source.container not in archives:
                    opened = stack.enter_context(zipfile.ZipFile(source.container))
                    archives[source.container] = opened
            image, of_image = _picture(pair.image, archives, "RGB", size)
            mask, of_mask = _picture(pair.mask, archives, "L", size)
            if of_image != of_mask:
                unlike.append(f"{pair.name} ({_times(of_image)}, mask {_times(of_mask)})")
            yield image, mask
    if unlike:
        warnings.warn(
            f"{name}: the masks of {len(unlike)} of {len(pairs)} pictures have another size than "
            f"their images and were stretched over them: {', '.join(unlike[:3])}"
            + (" and more" if len(unlike) > 3 else ""),
            stacklevel=2,
        )


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _picture(
    source: Source, archives: dict[Path, zipfile.ZipFile], mode: str, size: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Decode one picture to (S, S[, 3]) uint8; return it and its own width and height.

    Of a zip the checksum is compared, too: it is what its reader does.
    """
    from PIL import Image

    try:
        if source.member is None:
            data = source.container.read_bytes()
        else:
            data = archives[source.container].read(source.member)
        with Image.open(io.BytesIO(data)) as opened:
            picture = opened.convert(mode)
        own = picture.size
        if own != (size, size):
            how = Image.Resampling.BILINEAR if mode == "RGB" else Image.Resampling.NEAREST
            picture = picture.resize((size, size), how)
    except Exception as error:  # of a damaged file, libraries raise what comes
        raise ImageError(
            f"A picture could not be decoded: {source.container} {source.member or ''}".rstrip(),
            got=f"{type(error).__name__}: {error}",
            todo="Fetch the data set again.",
        ) from error
    return np.asarray(picture, dtype=np.uint8), own
