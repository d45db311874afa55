"""Colours are fixed, distinct and the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2lab

from napari_cas.store.colors import colorize, label_color


def test_unpainted_is_transparent_and_labels_are_opaque():
    assert label_color(0) == (0, 0, 0, 0)
    assert all(label_color(i)[3] == 255 for i in range(1, 300))


# Severity 1.0, in linear light (Machado, Oliveira & Fernandes 2009, table 1).
EYES = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


@pytest.mark.parametrize("eyes", EYES)
def test_the_first_labels_are_far_apart_for_all_eyes(eyes):
    colors = colorize(np.arange(1, 22))[:, :3] / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(EYES[eyes]), 0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(seen)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    distance[np.diag_indices(21)] = np.inf
    assert distance.min() > 16  # 2.3 is just noticeable


def test_neighbours_differ_far_beyond_the_palette():
    lab = rgb2lab(colorize(np.arange(1, 501))[None, :, :3] / 255)[0]
    assert np.linalg.norm(np.diff(lab, axis=0), axis=1).min() > 15


def test_colorize_matches_the_table():
    labels = np.array([[0, 1], [5, 70_000]])
    picture = colorize(labels)
    assert picture.shape == (2, 2, 4)
    for index in np.ndindex(2, 2):
        assert tuple(picture[index]) == label_color(int(labels[index]))
