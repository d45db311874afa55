"""Label arrays that belong to nobody's project: results too large for memory, gone after use."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

from napari_cas.store.cache import ARRAY_BYTES
from napari_cas.store.chunks import ChunkFiles
from napari_cas.store.files import storing
from napari_cas.store.labels import LabelArray


def scratch_labels(
    shape: tuple[int, ...], axes: str, *, cache_bytes: int = ARRAY_BYTES
) -> LabelArray:
    """Return an empty int32 array in the system's folder for temporary files.

    Its chunks are compressed, and empty ones take no room. A mapped file of that size would end
    the whole process where the disk is full; here writing raises a typed error.

    Parameters
    ----------
    shape : tuple of int
        Plane axes first, then height and width.
    axes : str
        A letter for each.
    cache_bytes : int
        Bound on the memory of chunks that are kept.

    Returns
    -------
    LabelArray
        Its folder is removed with it, at the latest when the process ends.

    Raises
    ------
    StorageError
        If the file system refuses.
    """
    with storing(Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix="napari-cas-"))
    files = ChunkFiles.create(folder / "labels", shape, "int32", axes)
    labels = LabelArray(files, writeable=True, follow=False, cache_bytes=cache_bytes)
    weakref.finalize(labels, shutil.rmtree, folder, ignore_errors=True)
    return labels
