"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two cores serve the worker, the viewer and the test at once; more threads than that only wait.
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Threads that spin while they wait make a busy machine several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Real users download weights from a hub; a test that tries would hang or depend on the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture
def shared_data() -> Path:
    """Return the folder of development data sets, or skip with the reason."""
    folder = Path(os.environ.get("NAPARI_CAS_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the development data sets are not here; set NAPARI_CAS_DATA to their folder")
    return folder
