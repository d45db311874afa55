"""Checkpoints of a training run: named tensors in safetensors, everything else in JSON, no pickle.

Written to a temporary file and renamed, so an interrupted run finds the last complete one.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import torch

from napari_cas.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

_RECORD = "record"


def save_checkpoint(
    file: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None, record: dict[str, Any]
) -> None:
    """Write a model, its optimiser and a JSON record as one safetensors file.

    Parameters
    ----------
    file : Path
        Target; replaced atomically.
    model : nn.Module
        All its parameters and buffers are kept.
    optimizer : torch.optim.Optimizer, optional
        Its state is kept, its settings are not: they follow from the recipe in the record.
    record : dict
        What made it: recipe, epoch, data digests, versions. JSON.
    """
    from safetensors.torch import save_file

    tensors = {f"model.{k}": v.detach().cpu() for k, v in model.state_dict().items()}
    if optimizer is not None:
        for number, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value).detach().cpu()
    kept = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    made = file.with_name(f".{file.name}.{os.getpid()}")
    save_file(kept, made, metadata={_RECORD: json.dumps(record)})
    made.replace(file)


def load_checkpoint(
    file: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> dict[str, Any]:
    """Load what :func:`save_checkpoint` wrote into a model and an optimiser.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    CheckpointError
        If the file is damaged or made for another network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            record: dict[str, Any] = json.loads((opened.metadata() or {})[_RECORD])
            tensors: dict[str, Tensor] = {k: opened.get_tensor(k) for k in opened.keys()}  # noqa: SIM118
        model.load_state_dict(_under("model.", tensors))
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"The checkpoint {file} cannot be used",
            got=f"{type(error).__name__}: {error}",
            todo="Delete it to start the run afresh.",
        ) from error
    if optimizer is not None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return record


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
