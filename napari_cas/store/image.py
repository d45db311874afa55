"""One image of a project: its pixels, what is painted on it and what was predicted for it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_cas.errors import ImageError, ProjectError, ProjectFormatError
from napari_cas.store import metadata
from napari_cas.store.chunks import ChunkFiles
from napari_cas.store.files import read_group, storing
from napari_cas.store.labels import LabelArray
from napari_cas.store.levels import LABELS, locate, open_levels, readable
from napari_cas.store.links import is_link, linked_inside, refuse_links
from napari_cas.store.naming import Naming
from napari_cas.store.predicted import Predicted
from napari_cas.store.regular import RegularFiles
from napari_cas.store.sampling import Intensity
from napari_cas.store.shown import shown_channels
from napari_cas.store.views import PredictionView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cas.protocol import Box, Doubt, Plane


class ImageEntry:
    """One image of a project.

    Parameters
    ----------
    folder : Path
        Directory of the image in the project.
    mode : {"r", "r+", "worker"}
        How the project was opened: "r+" may write regions and corrections, "worker" the prediction
        and the probabilities.
    digest : callable
        Gives the digest of a model of the project by name, "" if there is none.
    naming : Naming, optional
        The project's names for labels of predictions.

    Attributes
    ----------
    name : str
        Name in the project.
    axes : str
        Canonical axes, a subset of "tczyx".
    shape : tuple of int
        Length per axis.
    dtype : numpy.dtype
        Stored type.
    scale : tuple of float
        Pixel size per axis.
    units : tuple of str or None
        Unit per axis, as OME-Zarr spells it.
    translation : tuple of float
        Place of the first pixel per axis, in these units.
    channel_names : tuple of str
        One per channel.
    intensity : Intensity
        Robust range of values per channel.
    shown : tuple of Shown
        How each channel is shown, as far as anybody said.

    Raises
    ------
    ProjectFormatError
        If the image is missing or damaged.
    """

    def __init__(
        self,
        folder: Path,
        mode: str = "r",
        digest: Callable[[str], str] = lambda _: "",
        naming: Naming | None = None,
    ) -> None:
        self.folder = folder
        self.name = folder.name
        self.mode = mode
        self.naming = naming or Naming()
        self._arrays: dict[str, LabelArray] = {}
        refuse_links(folder.parent, folder.name, "labels")
        attributes = read_group(folder)
        own = attributes.get("napari-cas", {})
        own = own if isinstance(own, dict) else {}
        reference = own.get("reference")
        self.source = locate(reference, folder) if reference is not None else str(folder)
        self._levels: list[zarr.Array[Any]] = []
        self._linked: bool | None = None
        self._open(attributes if reference is None else None)
        self.intensity = Intensity.from_json(
            own.get("intensity"), self.n_channels, str(folder / "zarr.json")
        )
        self.shown = shown_channels(own.get("omero") or self._meta.omero, self.n_channels)
        self.predicted = Predicted(folder / "predicted.jsonl", mode, digest)
        for label in LABELS:
            self._label(label)

    def _open(self, attributes: dict[str, Any] | None) -> None:
        levels, meta = open_levels(self.source, attributes)
        self._levels, self._meta = levels, meta
        self.axes, self.scale, self.units = meta.axes, meta.scale, meta.units
        self.translation = meta.translation
        self.shape = tuple(levels[0].shape[i] for i in meta.order)
        self.dtype = np.dtype(levels[0].dtype)
        count = self.n_channels
        names = meta.channel_names[:count]
        self.channel_names = (*names, *metadata.default_channel_names(count)[len(names) :])

    def __repr__(self) -> str:
        return f"<ImageEntry {self.name!r} {self.axes} {self.shape} {self.dtype}>"

    @property
    def refers(self) -> bool:
        """Whether the pixels are elsewhere and not in the project."""
        return self.source != str(self.folder)

    # Geometry ---------------------------------------------------------------------------------

    @property
    def plane_axes(self) -> str:
        """Axes along which planes are counted, such as "tz"."""
        return "".join(axis for axis in self.axes if axis in "tz")

    @property
    def planes_shape(self) -> tuple[int, ...]:
        """Number of planes along each of these axes."""
        return tuple(self.shape[self.axes.index(axis)] for axis in self.plane_axes)

    @property
    def plane_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.shape[-2], self.shape[-1]

    @property
    def n_channels(self) -> int:
        """Number of channels; 1 without a channel axis."""
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    @property
    def label_axes(self) -> str:
        """Axes of the label arrays: all but the channel."""
        return self.axes.replace("c", "")

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of the label arrays."""
        return (*self.planes_shape, *self.plane_size)

    @property
    def label_scale(self) -> tuple[float, ...]:
        """Pixel size per label axis."""
        return tuple(self.scale[self.axes.index(axis)] for axis in self.label_axes)

    @property
    def label_units(self) -> tuple[str | None, ...]:
        """Unit per label axis."""
        return tuple(self.units[self.axes.index(axis)] for axis in self.label_axes)

    @property
    def label_translation(self) -> tuple[float, ...]:
        """Place of the first pixel per label axis."""
        return tuple(self.translation[self.axes.index(axis)] for axis in self.label_axes)

    def planes(self) -> Iterator[Plane]:
        """Yield the indices of every plane, ``()`` alone in 2-D."""
        yield from itertools.product(*(range(n) for n in self.planes_shape))

    # Pixels -----------------------------------------------------------------------------------

    @property
    def levels(self) -> list[Any]:
        """Arrays of all resolution levels in canonical axis order, full resolution first."""
        if self._meta.order == tuple(range(len(self.axes))):
            return list(self._levels)
        import dask.array as da

        return [da.from_zarr(level).transpose(self._meta.order) for level in self._levels]

    def read(self, plane: Plane, box: Box) -> NDArray[Any]:
        """Return the pixels of a rectangle, shape (C, h, w), in the stored type.

        Parameters
        ----------
        plane : tuple of int
            One index per axis of `plane_axes`.
        box : Box
            Rectangle; clipped to the image.

        Raises
        ------
        ImageError
            If there is no such plane or the pixels cannot be read.
        """
        if len(plane) != len(self.planes_shape) or not all(
            0 <= i < n for i, n in zip(plane, self.planes_shape, strict=True)
        ):
            raise ImageError(
                f"No such plane in {self.name}",
                expected=f"indices below {self.planes_shape}",
                got=str(tuple(plane)),
            )
        rows, columns = box.clip(*self.plane_size).slices
        where: dict[str, int | slice] = {"y": rows, "x": columns, "c": slice(None)}
        where.update(zip(self.plane_axes, (int(i) for i in plane), strict=True))
        stored = [letter for _, letter in sorted(zip(self._meta.order, self.axes, strict=True))]
        try:
            block = np.asarray(self._levels[0][tuple(where[letter] for letter in stored)])
        except Exception as error:
            # Codecs, stores and networks raise whatever they like.
            raise ImageError(
                f"The pixels of {self.name} at {self.source} cannot be read",
                expected="a complete image",
                got=f"{type(error).__name__}: {error}",
            ) from error
        left = [letter for letter in stored if letter in "cyx"]
        block = block.transpose([left.index(letter) for letter in "cyx" if letter in left])
        return block if block.ndim == 3 else block[np.newaxis]

    # Labels -----------------------------------------------------------------------------------

    def _label(self, name: str) -> LabelArray:
        if name not in self._arrays:
            refuse_links(self.folder, "labels", name, "0")
            files = ChunkFiles.open(self.folder / "labels" / name / "0")
            if files.shape != self.label_shape or files.dtype.name != LABELS[name]:
                raise ProjectFormatError(
                    f"{files.path} does not fit the image",
                    expected=f"{LABELS[name]} of shape {self.label_shape}",
                    got=f"{files.dtype.name} of shape {files.shape}",
                )
            mine = self.mode == ("worker" if name == "prediction" else "r+")
            # The viewer's process is the only one that paints, so its own arrays need no checks.
            follow = not (mine and name != "prediction")
            self._arrays[name] = LabelArray(files, writeable=mine, follow=follow)
        return self._arrays[name]

    @property
    def regions(self) -> LabelArray:
        """Painted regions, int32, 0 where unpainted; written by the viewer's process only."""
        return self._label("regions")

    @property
    def corrections(self) -> LabelArray:
        """Corrections of the prediction, uint8: 0 none, v + 1 for label v; the viewer's."""
        return self._label("corrections")

    @property
    def prediction(self) -> LabelArray:
        """Prediction, uint8, channel + 1 or 0; written by the worker process only."""
        return self._label("prediction")

    @property
    def prediction_view(self) -> PredictionView:
        """The prediction with corrections on top and names applied, to be shown and painted."""
        return PredictionView(self.prediction, self.corrections, self.naming)

    @property
    def problems(self) -> list[str]:
        """Damaged chunks met so far, a sentence each."""
        arrays = self._arrays.values()
        links = [link for array in arrays for link in array.files.links()]
        named = [f"{link} is a symbolic link; it reads as unpainted." for link in links]
        return [*named, *(text for array in arrays for text in array.problems)]

    def flush(self) -> list[tuple[Plane, Box]]:
        """Write everything painted to disk; see :meth:`LabelArray.flush`."""
        written: list[tuple[Plane, Box]] = []
        for array in self._arrays.values():
            if array.writeable or array.dirty:
                written += array.flush()
        return written

    def close(self) -> None:
        """Let nothing more be painted."""
        for array in self._arrays.values():
            array.freeze()

    # Probabilities ----------------------------------------------------------------------------

    @property
    def probabilities(self) -> zarr.Array[Any] | None:
        """Channel probabilities, float16, shape (K, *label_shape); None if there are none.

        K is the highest channel that the model can show.

        Damaged ones count as none: the worker writes them anew.
        """
        path = self.folder / "probabilities"
        if not (path / "zarr.json").is_file() or self._foreign(path):
            return None
        try:
            files = RegularFiles(path, read_only=self.mode != "worker")
            array = zarr.open_array(files, mode="r" if files.read_only else "r+")
        except Exception:  # zarr raises whatever the damage leads to
            return None
        fits = array.shape[1:] == self.label_shape and array.dtype == np.float16
        return array if fits and readable(array, array.ndim) else None

    def _foreign(self, path: Path) -> bool:
        """Whether writing probabilities would lead out of the project; looked at once."""
        if self.mode == "worker" and self._linked is None:
            self._linked = linked_inside(path)
        return self._linked is True

    def create_probabilities(self, channels: int) -> zarr.Array[Any]:
        """Return the array of channel probabilities, made anew unless it has `channels` channels.

        Raises
        ------
        ProjectError
            If the project was not opened as the worker.
        StorageError
            If the file system refuses.
        """
        if self.mode != "worker":
            raise ProjectError("Only the worker writes probabilities", got=f"mode {self.mode!r}")
        old = self.probabilities
        if old is not None and old.shape[0] == channels:
            return old
        chunk = (channels, *(1 for _ in self.planes_shape), *(min(256, n) for n in self.plane_size))
        path = self.folder / "probabilities"
        with storing(self.folder):
            if is_link(path):
                path.unlink()
            self._linked = False
            self.folder.stat()  # raises where the project was moved; zarr would make it anew
            return zarr.create_array(
                store=str(path),
                shape=(channels, *self.label_shape),
                chunks=chunk,
                dtype="float16",
                dimension_names=["channel", *self.label_axes],
                overwrite=True,
            )

    def predicted_with(
        self, checkpoint: str, *, probabilities: bool = False, settings: str = ""
    ) -> set[tuple[Plane, Box]]:
        """Return planes and boxes that are already predicted with this model as it is now.

        Parameters
        ----------
        checkpoint : str
            The model's name.
        probabilities : bool
            Whether only those count of which the probabilities are there, too.
        settings : str
            Only those count that were made so; see :attr:`PredictConfig.note`.
        """
        if probabilities and self.probabilities is None:
            return set()
        return self.predicted.done(checkpoint, probabilities=probabilities, settings=settings)

    def mark_predicted(
        self,
        checkpoint: str,
        tiles: Iterable[tuple[Plane, Box]],
        *,
        probabilities: bool = False,
        settings: str = "",
        doubts: Sequence[Doubt] = (),
    ) -> None:
        """Note that these tiles are predicted and on disk; forgets those of other models.

        Parameters
        ----------
        checkpoint : str
            The model's name.
        tiles : iterable of (plane, box)
            What is done.
        probabilities : bool
            Whether their probabilities are on disk, too.
        settings : str
            How they were made; see :attr:`PredictConfig.note`.
        doubts : sequence of Doubt
            Where the network hesitates most on the last of them.

        Raises
        ------
        ProjectError
            If the project was not opened as the worker.
        StorageError
            If the file system refuses.
        """
        self.predicted.add(
            checkpoint, tiles, probabilities=probabilities, settings=settings, doubts=doubts
        )
