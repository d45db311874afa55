"""Table 4: scores over scales, by hand and on images of the real set."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.bsds import BSDS500, Annotated
from training.table_bsds import score_scales


def annotated(*segmentations: np.ndarray) -> Annotated:
    shape = segmentations[0].shape
    contours = tuple(np.zeros(shape, bool) for _ in segmentations)
    image = np.zeros((*shape, 3), np.uint8)
    return Annotated("1", image, segmentations, contours)


def halves(shape=(10, 12)) -> np.ndarray:
    labels = np.ones(shape, np.int32)
    labels[:, shape[1] // 2 :] = 2
    return labels


def test_scores_by_hand():
    whole = np.ones((10, 12), np.int32)
    partitions = [[whole - 1, halves() - 1], [whole - 1, halves() - 1]]
    truths = [annotated(halves(), whole), annotated(whole)]
    found = score_scales(partitions, iter(truths), fixed=1)
    # Of 360 pixels, the coarse scale covers 60 + 120 + 120, the fine 120 + 60 + 60.
    assert found["covering"] == found["covering_ois"] == pytest.approx(2.5 / 3)
    assert found["covering_scale"] == 0
    assert found["covering_fixed"] == pytest.approx(2 / 3)
    assert found["variation"] == pytest.approx((0.5 + 0) / 2)
    apart = 60 * 60 / (120 * 119 / 2)  # pairs of pixels that halves separate
    assert found["rand"] == pytest.approx((1 - apart / 2 + 1) / 2)
    assert found["contour"] == 0


def test_an_image_s_own_scale_is_at_least_as_good():
    rng = np.random.default_rng(0)
    truths = [annotated(rng.integers(1, 4, (20, 20), np.int32)) for _ in range(3)]
    partitions = [[rng.integers(0, k, (20, 20)) for k in (2, 4, 9)] for _ in truths]
    found = score_scales(partitions, iter(truths))
    assert found["covering_ois"] >= found["covering"]
    assert found["rand_ois"] >= found["rand"]
    assert found["variation_ois"] <= found["variation"]
    assert "contour" not in found


def test_people_agree_with_people_on_the_real_set(shared_data):
    truths = [t for t, _ in zip(BSDS500("val", shared_data / "bsds500"), range(3), strict=False)]
    partitions = [[truth.segmentations[0]] for truth in truths]
    found = score_scales(partitions, iter(truths), fixed=0)
    assert 0.6 < found["covering"] < 1
    assert 0.7 < found["contour"] < 1
    assert found["variation"] < 1.8
