"""BSDS500: natural images with the segmentations of several annotators.

Layout, as published: ``images/{train,val,test}/*.jpg`` and ``groundTruth/{train,val,test}/*.mat``,
each a cell ``groundTruth`` of structs with ``Segmentation`` (labels from 1) and ``Boundaries``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.data.saliency import DataSetError, data_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SPLITS = {"train": 200, "val": 100, "test": 200}
"""Published number of images of each split."""

SOURCE = "the Berkeley Segmentation Data Set and Benchmarks 500 (Arbelaez et al., TPAMI 2011)"


@dataclass(frozen=True)
class Annotated:
    """An image and what several people made of it.

    Attributes
    ----------
    name : str
        Number of the image.
    image : ndarray
        (Y, X, 3) uint8.
    segmentations : tuple of ndarray
        (Y, X) int32 each, labels from 1.
    boundaries : tuple of ndarray
        (Y, X) bool each, one pixel wide.
    """

    name: str
    image: NDArray[np.uint8]
    segmentations: tuple[NDArray[np.int32], ...]
    boundaries: tuple[NDArray[np.bool_], ...]

    def coarsest(self, smallest: float = 0.01) -> NDArray[np.int32]:
        """Return the segmentation with fewest segments, its small ones set to 0.

        Parameters
        ----------
        smallest : float
            Segments that cover less than this fraction of the image are dropped.

        Returns
        -------
        ndarray
            (Y, X) int32, regions 1..K, 0 where dropped.
        """
        chosen = min(self.segmentations, key=lambda s: len(np.unique(s)))
        values, inverse, counts = np.unique(chosen, return_inverse=True, return_counts=True)
        kept = counts > smallest * chosen.size
        number = np.where(kept, np.cumsum(kept), 0)
        return number[inverse].reshape(chosen.shape).astype(np.int32) if values.size else chosen


class BSDS500:
    """One split of BSDS500, read from disk on demand.

    Parameters
    ----------
    split : {"train", "val", "test"}
        Which split; never tune on "test".
    folder : Path, optional
        Folder with ``images`` and ``groundTruth``; by default ``bsds500`` in the data folder.
    check_count : bool
        Insist on the published number of images.

    Raises
    ------
    DataSetError
        If the set is not there or not complete.
    """

    def __init__(self, split: str, folder: Path | None = None, *, check_count: bool = True) -> None:
        if split not in SPLITS:
            raise DataSetError("Unknown split", expected=" or ".join(SPLITS), got=repr(split))
        self.split = split
        self.folder = folder or data_folder() / "bsds500"
        images = {p.stem for p in (self.folder / "images" / split).glob("*.jpg")}
        truths = {p.stem for p in (self.folder / "groundTruth" / split).glob("*.mat")}
        self.names = tuple(sorted(images & truths))
        if not self.names or (check_count and len(self.names) != SPLITS[split]):
            raise DataSetError(
                f"BSDS500's {split} split was not found in full",
                expected=f"{SPLITS[split]} images in {self.folder}/images/{split}, with their "
                f".mat files in {self.folder}/groundTruth/{split}",
                got=str(len(self.names)),
                todo=f"Get {SOURCE}, or set NAPARI_CAS_DATA to the folder that holds 'bsds500'. "
                "To use a part on purpose, pass check_count=False.",
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def __iter__(self) -> Iterator[Annotated]:
        """Read the images in the order of their names."""
        return (self.read(name) for name in self.names)

    def read(self, name: str) -> Annotated:
        """Read an image and its annotations.

        Raises
        ------
        DataSetError
            If a file is damaged, or annotations have another size than the image.
        """
        import imageio.v3 as iio
        from scipy.io import loadmat

        path = self.folder / "groundTruth" / self.split / f"{name}.mat"
        try:
            cells = loadmat(path)["groundTruth"].ravel()
            image = iio.imread(self.folder / "images" / self.split / f"{name}.jpg")
            found = [cell[0, 0] for cell in cells]
            read = Annotated(
                name,
                np.asarray(image, np.uint8),
                tuple(np.asarray(f["Segmentation"], np.int32) for f in found),
                tuple(np.asarray(f["Boundaries"]) > 0 for f in found),
            )
        except Exception as error:  # of a damaged file, libraries raise what comes
            raise DataSetError(
                f"{path} or its image is damaged",
                got=f"{type(error).__name__}: {error}",
                todo=f"Get it again from {SOURCE}.",
            ) from error
        sizes = {marks.shape for marks in (*read.segmentations, *read.boundaries)}
        if sizes != {read.image.shape[:2]}:
            raise DataSetError(
                f"{path} is not of its image",
                expected=f"annotations of {read.image.shape[:2]}",
                got=", ".join(map(str, sorted(sizes))) or "none",
                todo=f"Get it again from {SOURCE}.",
            )
        return read
