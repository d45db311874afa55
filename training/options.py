"""Types of options: what cannot be used is refused before hours of work, not after."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """Return a number from one up."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up, got {number}")
    return number


def device(name: str) -> str:
    """Return the name of a device that torch has here, or "auto"."""
    import torch

    if name == "auto":
        return name
    try:
        wanted = torch.device(name)
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"torch knows no device {name!r}") from error
    gpus = torch.cuda.device_count()
    if wanted.type == "cuda" and (wanted.index or 0) >= gpus:
        raise argparse.ArgumentTypeError(f"torch sees {gpus} CUDA devices here, got {name!r}")
    return name
