"""Small images with areas that differ, and projects that hold them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_cas.config import Config, FitConfig, ModelSpec
from napari_cas.engine import worker
from napari_cas.engine.sources import ArraySource
from napari_cas.store import Project


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(2)


def two_areas(height=96, width=128, channels=3, seed=0):
    """Return (Y, X, C) uint8, dark and smooth left, striped and bright right; and the truth."""
    rng = np.random.default_rng(seed)
    image = rng.normal(80, 8, (height, width, channels))
    right = np.arange(width) >= width // 2
    image[:, right] += 50 + 40 * (np.arange(height) % 6 < 3)[:, None, None]
    truth = np.broadcast_to(np.where(right, 2, 1), (height, width))
    return image.clip(0, 255).astype(np.uint8), truth.astype(np.int32)


def strokes(truth, ids=(1, 2)):
    """Return one stroke in each half."""
    height, width = truth.shape
    painted = np.zeros(truth.shape, np.int32)
    painted[height // 4 : height // 2, width // 8 : width // 8 + 8] = ids[0]
    painted[height // 4 : height // 2, -width // 8 - 8 : -width // 8] = ids[1]
    return painted


def source(regions, name="a", seed=0):
    """Return grey noise, painted."""
    image = np.random.default_rng(seed).random((1, *np.shape(regions)))
    return ArraySource(name, image, np.asarray(regions))


def painted(height=200, width=300):
    """Return three regions of different sizes."""
    regions = np.zeros((height, width), int)
    regions[10:20, 10:200], regions[100:103, 50:60], regions[150:160, 250:280] = 7, 3, 9
    return regions


def agreement(labels, truth):
    """Return the share of pixels that two labels' best naming gets right, 0 if one label is all."""
    first, second = (np.bincount(labels[truth == t]).argmax() for t in (1, 2))
    if first == second:
        return 0.0
    return float(np.where(truth == 1, labels == first, labels == second).mean())


@pytest.fixture
def config():
    """Return settings that do not depend on the machine's speed."""
    return Config(model=ModelSpec(channels=4), fit=FitConfig(round_seconds=600))


@pytest.fixture
def project(tmp_path):
    """Return a project with a painted image 'a' and an unpainted image 'b', open for writing."""
    with Project.create(tmp_path / "p.zarr") as opened:
        for name, seed in (("a", 0), ("b", 1)):
            opened.add_image(name, two_areas(seed=seed)[0], "yxc")
        opened.image("a").regions[:] = strokes(two_areas()[1])
        opened.flush()
        yield opened
    worker.forget()


@pytest.fixture
def cold():
    """Return a function after which the worker knows nothing."""
    return worker.forget
