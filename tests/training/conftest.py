"""Tiny sets in the published layouts, made here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path


def write_picture(path: Path, seed: int, size: tuple[int, int] = (40, 48)) -> np.ndarray:
    """Write a noisy image whose salient square is brighter and redder; return the square's mask."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 90, (*size, 3))
    mask = np.zeros(size, bool)
    y, x = rng.integers(4, size[0] // 2), rng.integers(4, size[1] // 2)
    mask[y : y + size[0] // 3, x : x + size[1] // 3] = True
    image[mask] += np.array([140, 20, 20])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.astype(np.uint8)).save(path)
    return mask


def write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


@pytest.fixture
def tiny_set(tmp_path: Path):
    """Return a function that writes a set of `count` pictures by two name patterns."""

    def make(root: str, images: str, masks: str, count: int = 6) -> Path:
        for i in range(count):
            mask = write_picture(tmp_path / "data" / root / images.format(i), i)
            write_mask(tmp_path / "data" / root / masks.format(i), mask)
        return tmp_path / "data"

    return make
