"""Types of options: what cannot be used is refused before hours of work, not after."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def add_choice(parser: argparse.ArgumentParser, flag: str, known: Collection[str]) -> None:
    """Declare an option that takes some of the things known; without it, all of them are run.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Gets the option.
    flag : str
        Its name in the plural, as ``"--variants"``.
    known : collection of str
        Their names, in the order in which they are run.
    """
    parser.add_argument(
        flag,
        nargs="+",
        default=list(known),
        choices=known,
        metavar=flag.strip("-").removesuffix("s").upper(),
        help=f"of {'; '.join(known)}".replace("%", "%%"),  # argparse formats it
    )


def count(text: str) -> int:
    """Return a number from one up."""
    return _at_least(1, text)


def several(text: str) -> int:
    """Return a number from two up."""
    return _at_least(2, text)


def _at_least(least: int, text: str) -> int:
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"expected a number from {least} up, got {number}")
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
