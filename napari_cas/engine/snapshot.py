"""What a network was before a round, to go back to."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_IN_MEMORY = 16 << 20
"""Bytes up to which copies stay there."""


class Snapshot:
    """Copies of tensors; of large ones on a CPU, in a temporary file.

    They are hardly ever needed: only where a loss stops being finite. To be used in a `with`
    statement, at whose end they are gone.

    Parameters
    ----------
    tensors : sequence of Tensor
        What to copy.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        size = sum(t.numel() * t.element_size() for t in tensors if t.device.type == "cpu")
        self._file = _written(tensors) if size > _IN_MEMORY else None
        self._held = [] if self._file else [t.detach().clone() for t in tensors]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @torch.no_grad()
    def restore(self, tensors: Sequence[Tensor]) -> None:
        """Copy everything back into the same tensors, in the same order."""
        if self._file is None:
            for tensor, held in zip(tensors, self._held, strict=True):
                tensor.copy_(held)
            return
        self._file.seek(0)
        for tensor in tensors:
            data = bytearray(self._file.read(tensor.numel() * tensor.element_size()))
            if data:
                tensor.copy_(torch.frombuffer(data, dtype=tensor.dtype).view(tensor.shape))


def _written(tensors: Sequence[Tensor]) -> BinaryIO | None:
    """Return a file of all values, gone when it is closed; None where there is no room for it."""
    try:
        with ExitStack() as stack:
            file: BinaryIO = stack.enter_context(tempfile.TemporaryFile(prefix="napari-cas-"))
            for tensor in tensors:
                values = tensor.detach().cpu().contiguous().numpy().reshape(-1)
                file.write(values.view(np.uint8).data)  # not `tofile`, which hides a full disk
            file.flush()
            stack.pop_all()
            return file
    except OSError:
        return None
