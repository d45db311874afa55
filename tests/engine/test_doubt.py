"""Where a network hesitates most."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cas.engine.doubt import BLOCK, MOST, most_doubtful
from napari_cas.protocol import Box

BOX = Box(100, 200, 196, 328)
"""Three by four places."""


@pytest.fixture
def sure():
    soft = np.zeros((4, *BOX.shape), np.float32)
    soft[1] = 1
    return soft


@pytest.fixture
def bare():
    return np.zeros(BOX.shape, bool)


def test_a_place_beats_a_border(sure, bare):
    sure[:, :, 60:62] = 0.25  # all along, as doubtful as can be
    sure[:, 64:96, 96:128] = np.array([0.5, 0.5, 0, 0])[:, None, None]
    first, *others = most_doubtful(sure, bare, BOX)
    assert first == (0.5, 100 + 80, 200 + 112)
    assert len(others) == MOST - 1
    assert max(place.value for place in others) < 0.2


def test_places_are_not_side_by_side(bare):
    found = most_doubtful(np.full((4, *BOX.shape), 0.25, np.float32), bare, BOX)
    assert [place[1:] for place in found] == [(116, 216), (116, 280), (180, 216), (180, 280)]


def test_paint_and_missing_data_are_no_places(sure, bare):
    sure[:, 64:96, 96:128] = 0.25
    sure[:, :32, :32] = np.array([0.9, 0.1, 0, 0])[:, None, None]
    bare[70, 100] = True
    value, y, x = most_doubtful(sure, bare, BOX)[0]
    assert (y, x) == (116, 216)
    assert value == pytest.approx(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1)) / np.log(4), abs=1e-4)
    sure[:] = 0
    assert most_doubtful(sure, bare, BOX)[0].value == 0


def test_paint_everywhere_leaves_no_place(sure, bare):
    assert most_doubtful(sure, ~bare, BOX) == ()


@pytest.mark.parametrize("shape", [(1, 1), (7, 50), (BLOCK + 3, 2 * BLOCK + 20)])
def test_small_tiles_have_places_and_slivers_are_none(shape):
    soft = np.full((2, *shape), 0.5, np.float32)
    soft[:, : min(BLOCK, shape[0]), : min(BLOCK, shape[1])] = np.array([[[0.9]], [[0.1]]])
    value, y, x = most_doubtful(soft, np.zeros(shape, bool), Box(0, 0, *shape))[0]
    assert 0 <= y < shape[0]
    assert 0 <= x < shape[1]
    if shape[0] > BLOCK:
        assert (value, y, x) == (1.0, BLOCK // 2, 2 * BLOCK - BLOCK // 2)
