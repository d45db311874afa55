"""The headless face: lists of arrays in, a model and predictions out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from napari_cas.config import Config
from napari_cas.engine.checks import as_array, as_image, as_list, as_regions, refuse_constant
from napari_cas.engine.device import set_threads
from napari_cas.engine.sources import ArraySource
from napari_cas.engine.trainer import RoundResult, Trainer
from napari_cas.errors import (
    CheckpointError,
    ConfigError,
    ImageError,
    InputError,
    StorageError,
)
from napari_cas.protocol import Box
from napari_cas.store.files import refuse_url
from napari_cas.store.models import export_model, import_model
from napari_cas.store.naming import Naming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from napari_cas.engine.predict import Prediction

Progress = Callable[[int, int, RoundResult], None]


class Model:
    """A fine-tuned network, ready to predict, to be saved or to be taught more.

    Made by :func:`fine_tune` or :meth:`load`.
    """

    def __init__(self, trainer: Trainer, naming: Naming | None = None) -> None:
        self._trainer = trainer
        self._naming = naming or Naming()

    @property
    def names(self) -> Mapping[int, str]:
        """Names of labels of predictions, as given in the window or here; saved with the model.

        Assign all at once. `InputError` is raised where a label or a name cannot be used. `predict`
        tells labels of one name apart all the same, for its labels are those of its probabilities.
        """
        return MappingProxyType(self._naming.names)  # of a copy, names[1] = … would be lost

    @names.setter
    def names(self, names: Mapping[int, str]) -> None:
        naming = Naming()
        naming.set(names)
        if (last := max(naming.names, default=0)) > self.channels:
            raise InputError(
                "No label of this model", expected=f"1 to {self.channels}", got=str(last)
            )
        self._naming = naming

    @property
    def config(self) -> Config:
        """The settings it was made with."""
        return self._trainer.config

    @property
    def channels(self) -> int:
        """Number of softmax channels M."""
        return self._trainer.model.channels

    def predict(self, image: ArrayLike) -> Prediction:
        """Segment an image; see :func:`predict`."""
        source = ArraySource("image", as_image(as_array(image, "image"), "image"))
        wanted = self._trainer.in_channels
        if source.channels != wanted:
            than, todo = "those the model learnt from", "Use a model of its kind, or convert it."
            raise ImageError.of_channels(
                "image", than, wanted=wanted, got=source.channels, todo=todo
            )
        self._trainer.forget_images()
        return self._trainer.predict(source, (), Box(0, 0, *source.size))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a directory with `weights.safetensors` and `model.json`, in one step.

        Parameters
        ----------
        path : path-like
            A new or empty directory, or that of a model, which is replaced.

        Raises
        ------
        CheckpointError
            If it cannot be written; a model that was there is then untouched.
        """
        tensors, record = self._trainer.save()
        try:
            export_model(_folder(path), tensors, {**record, "names": self._naming.as_json()})
        except StorageError as error:
            raise CheckpointError(
                f"The model could not be saved: {error.what}",
                expected=error.expected,
                got=error.got,
                todo=error.todo,
            ) from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """Read what :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            If there is no model at `path` or it is damaged.
        WeightsError
            If the pretrained weights that it builds upon are missing.
        """
        tensors, record = import_model(_folder(path))
        set_threads()
        return cls(Trainer.restore(tensors, record), Naming(record.get("names")))


def fine_tune(
    images: Iterable[ArrayLike],
    regions: Iterable[ArrayLike],
    config: Config | None = None,
    *,
    progress: Progress | None = None,
) -> Model:
    """Teach a network what tells the painted regions apart.

    Parameters
    ----------
    images : iterable of array_like
        Each (Y, X) or (Y, X, C), any real dtype, NaN, or masked, where there are no data. All with
        the same number of channels.
    regions : iterable of array_like
        Each (Y, X), integers: 0 is unpainted and ignored; pixels of one other id are of one
        appearance. Ids mean nothing across images.
    config : Config, optional
        Settings; defaults to the quick network with 16 channels.
    progress : callable, optional
        Called after each round with (rounds done, rounds at most, RoundResult).

    Returns
    -------
    Model
        For :func:`predict` or :meth:`Model.save`.

    Raises
    ------
    ImageError, RegionError
        If an array cannot be used or there is nothing to tell apart.
    """
    config = Config() if config is None else config
    if not isinstance(config, Config):
        raise ConfigError(
            "config has the wrong type",
            expected="a napari_cas.Config",
            got=type(config).__name__,
            todo="Config.model_validate makes one of a dictionary.",
        )
    if progress is not None and not callable(progress):
        raise InputError("progress cannot be called", expected="a function", got=repr(progress))
    sources = _sources(images, regions)
    set_threads()
    trainer = Trainer(config, sources[0].channels if sources else 3)
    titles = {source.name: source.title for source in sources}
    for done in range(1, config.fit.max_rounds + 1):
        result = trainer.train(sources)
        if progress is not None:
            alike = tuple(a._replace(image=titles[a.image]) for a in result.alike)
            progress(done, config.fit.max_rounds, result._replace(alike=alike))
        if result.converged:
            break
    return Model(trainer)


def _sources(images: Iterable[ArrayLike], regions: Iterable[ArrayLike]) -> list[ArraySource]:
    """Return images with their regions, checked."""
    flat = getattr(images, "ndim", None) == 3  # one image with channels, or planes of a stack
    images, regions = as_list(images, "images"), as_list(regions, "regions")
    if len(images) != len(regions):
        raise InputError(
            "Images and regions do not pair up",
            expected=f"{len(images)} region maps",
            got=str(len(regions)),
            todo="Of one image, write fine_tune([image], [regions])." if flat else "",
        )
    sources: list[ArraySource] = []
    for i, (image, painted) in enumerate(zip(images, regions, strict=True)):
        title, name = f"images[{i}]", f"regions[{i}]"
        pixels = as_image(as_array(image, title), title)
        refuse_constant(pixels, title)
        channels, *size = pixels.shape
        ids = as_regions(as_array(painted, name, hidden=0), tuple(size), name, channels)
        source = ArraySource(f"{i:06d}", pixels, ids, title=title)
        wanted = sources[0].channels if sources else source.channels
        if source.channels != wanted:
            todo = "Convert them to the same kind, or learn from each kind apart."
            raise ImageError.of_channels(
                title, "images[0]", wanted=wanted, got=source.channels, todo=todo
            )
        sources.append(source)
    return sources


def predict(model: Model, image: ArrayLike) -> Prediction:
    """Segment an image.

    Parameters
    ----------
    model : Model
        From :func:`fine_tune` or :meth:`Model.load`.
    image : array_like
        (Y, X) or (Y, X, C), of as many channels as the model was taught with. NaN, or masked, where
        there are no data.

    Returns
    -------
    Prediction
        labels (Y, X) uint8, 1..M, 0 where there are no data, and probabilities (M, Y, X) float32.

    Raises
    ------
    ImageError
        If the image cannot be used.
    """
    if not isinstance(model, Model):
        raise InputError(
            "model is not a model",
            expected="what napari_cas.fine_tune or load returns",
            got=type(model).__name__,
        )
    return model.predict(image)


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model that :meth:`Model.save` wrote."""
    return Model.load(path)


def _folder(path: str | os.PathLike[str]) -> Path:
    """Return a path as such, whoever has written it in whichever way.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        text = os.fsdecode(path)
    except TypeError as error:
        raise InputError("path is not a path", expected="a folder", got=repr(path)) from error
    if "\0" in text:
        raise InputError("path is not a path", expected="no null character", got=repr(text))
    refuse_url(text, "A model")
    return Path(text)
