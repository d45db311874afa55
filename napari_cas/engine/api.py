"""The headless face: lists of arrays in, a model and predictions out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cas.config import Config
from napari_cas.engine.checks import as_image, as_regions
from napari_cas.engine.device import set_threads
from napari_cas.engine.sources import ArraySource
from napari_cas.engine.trainer import RoundResult, Trainer
from napari_cas.errors import CheckpointError, InputError, StorageError
from napari_cas.protocol import Box
from napari_cas.store.models import export_model, import_model

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from napari_cas.engine.predict import Prediction

Progress = Callable[[int, int, RoundResult], None]


class Model:
    """A fine-tuned network, ready to predict, to be saved or to be taught more.

    Made by :func:`fine_tune` or :meth:`load`.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

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
        source = ArraySource("image", as_image(image, "image"))
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
        try:
            export_model(Path(path), *self._trainer.save())
        except StorageError as error:
            raise CheckpointError(
                f"The model could not be saved to {path}",
                got=str(error),
                todo="Choose a folder that can be written.",
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
        tensors, record = import_model(Path(path))
        set_threads()
        return cls(Trainer.restore(tensors, record))


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
        Each (Y, X) or (Y, X, C), any real dtype, NaN where there are no data. All with the same
        number of channels.
    regions : iterable of array_like
        Each (Y, X), integers: 0 is unpainted and ignored; pixels of one other id are of one
        appearance. Ids mean nothing across images.
    config : Config, optional
        Settings; defaults to the quick network with 8 channels.
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
    images, regions = list(images), list(regions)
    if len(images) != len(regions):
        raise InputError(
            "Images and regions do not pair up",
            expected=f"{len(images)} region maps",
            got=str(len(regions)),
        )
    config = config or Config()
    sources = []
    for i, (image, painted) in enumerate(zip(images, regions, strict=True)):
        array = as_image(image, f"images[{i}]")
        sources.append(
            ArraySource(f"{i:06d}", array, as_regions(painted, array.shape[1:], f"regions[{i}]"))
        )
    set_threads()
    trainer = Trainer(config, sources[0].channels if sources else 3)
    for done in range(1, config.fit.max_rounds + 1):
        result = trainer.train(sources)
        if progress is not None:
            progress(done, config.fit.max_rounds, result)
        if result.converged:
            break
    return Model(trainer)


def predict(model: Model, image: ArrayLike) -> Prediction:
    """Segment an image.

    Parameters
    ----------
    model : Model
        From :func:`fine_tune` or :meth:`Model.load`.
    image : array_like
        (Y, X) or (Y, X, C), of as many channels as the model was taught with.

    Returns
    -------
    Prediction
        labels (Y, X) uint8, 1..M, 0 where there are no data, and probabilities (M, Y, X) float32.

    Raises
    ------
    ImageError
        If the image cannot be used.
    """
    return model.predict(image)


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model that :meth:`Model.save` wrote."""
    return Model.load(path)
