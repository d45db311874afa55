"""Which device works, how many threads, which seed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from napari_cas.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cas.config import Config

SMALLEST = 128
"""Side of the smallest tiles in pixels, however little memory there is."""


def available_devices() -> tuple[str, ...]:
    """Return the device names that would work here, the best first, "cpu" always among them."""
    names = []
    if torch.cuda.is_available():
        names.append("cuda")
    if torch.backends.mps.is_available():
        names.append("mps")
    return (*names, "cpu")


def resolve_device(name: str) -> torch.device:
    """Return the device for a configured name; "auto" takes the best there is.

    Raises
    ------
    ConfigError
        If the device is not available on this machine.
    """
    devices = available_devices()
    if name == "auto":
        name = devices[0]
    if name not in devices:
        raise ConfigError(
            "This device is not available",
            expected=f"one of {', '.join(devices)}",
            got=name,
            todo="Choose 'auto' to take the best device of this machine.",
        )
    return torch.device(name)


def set_threads() -> int:
    """Let torch use the cores this process may run on, and return their number."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        cores = os.cpu_count() or 1
    # OpenMP allows a list for nested levels, and what it cannot read it ignores.
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    threads = max(1, min(cores, int(wanted))) if wanted.isdecimal() and int(wanted) else cores
    torch.set_num_threads(threads)
    return threads


def generator(*seed: int) -> torch.Generator:
    """Return a CPU generator that depends on all of `seed` and on nothing else."""
    mixed = 0
    for part in seed:
        # A multiplicative hash (Knuth): neighbouring seeds and steps give unrelated streams.
        mixed = (mixed * 6364136223846793005 + part + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(mixed)


@contextmanager
def seeded(device: torch.device, *seed: int) -> Iterator[None]:
    """Let what draws from torch's global generators, as dropout does, depend on `seed` alone."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator(*seed).initial_seed())
        yield


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "_status_alloc_failed",
)
"""What plain RuntimeErrors say: those of the CPU's allocator on Linux and on Windows, of MPS, and
of CUDA's libraries (cuBLAS, cuDNN, cuSOLVER) for their own workspaces."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on whichever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in _OUT_OF_MEMORY)


def sizes_of(config: Config) -> tuple[int, int, int]:
    """Return crop, batch and tile size: what memory must suffice for."""
    tile = config.predict.tile_size
    if config.model.name == "quick" and config.model.enlarge > 2:
        # Of usual tiles the network would see 8 million pixels.
        tile = max(SMALLEST, tile // 128 * 64)
    return config.fit.crop_size, config.fit.batch_size, tile
