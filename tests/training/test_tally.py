"""Scores over scales, by hand and on images of the real set."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cas.metrics.boundaries import boundary_of
from napari_cas.metrics.regions import covering_counts, rand_index, variation_of_information
from training.data.bsds import BSDS500, Annotated
from training.hierarchy import SCALES
from training.tally import Fixed, tallies


def score_scales(partitions, truths, fixed=None) -> dict[str, float]:
    (tally,) = tallies(([one] for one in partitions), truths)
    return tally.scores(fixed)


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
    found = score_scales(partitions, iter(truths), Fixed(covering=1, contour=1))
    # Of 360 pixels, the coarse scale covers 60 + 120 + 120, the fine 120 + 60 + 60.
    assert found["covering"] == found["covering_ois"] == pytest.approx(2.5 / 3)
    assert found["covering_scale"] == 0
    assert found["covering_fixed"] == pytest.approx(2 / 3)
    assert found["variation"] == pytest.approx((0.5 + 0) / 2)
    apart = 60 * 60 / (120 * 119 / 2)  # pairs of pixels that halves separate
    assert found["rand"] == pytest.approx((1 - apart / 2 + 1) / 2)
    assert found["contour"] == found["contour_fixed"] == 0  # nobody drew a contour


def drawn(labels: np.ndarray) -> Annotated:
    """Return an image whose one annotator drew the contours of a partition."""
    return Annotated("1", np.zeros((*labels.shape, 3), np.uint8), (labels,), (boundary_of(labels),))


def test_contours_are_scored_at_the_best_scale_of_all_images_and_of_each():
    fine = np.arange(3)[None].repeat(30, axis=0).repeat(20, axis=1)  # contours 20 pixels apart
    coarse = np.minimum(fine, 1)
    # Three contours of 30 pixels are drawn: the fine scale finds 3 of its 4, the coarse 2 of 2.
    found = score_scales([[fine, coarse]] * 2, iter([drawn(fine), drawn(coarse)]), Fixed(0, 1))
    assert found["contour_scale"] == 0
    assert found["contour"] == pytest.approx(2 * 3 / (4 + 3))
    assert found["contour_fixed"] == pytest.approx(2 * 2 / (2 + 3))
    assert found["contour_ois"] == 1


def test_of_many_scales_some_are_matched_and_called_by_their_own_numbers():
    whole, parted = np.zeros((20, 30), int), halves((20, 30))
    partitions = [whole] * (len(SCALES) - 1) + [parted]
    found = score_scales([partitions], iter([drawn(parted)]), Fixed(0, len(SCALES) - 1))
    assert found["contour"] == found["contour_fixed"] == 1
    assert found["contour_scale"] == len(SCALES) - 1
    unmatched = [whole] * 4 + [parted] + [whole] * (len(SCALES) - 5)
    assert score_scales([unmatched], iter([drawn(parted)]))["contour"] == 0


def test_an_image_s_own_scale_is_at_least_as_good():
    rng = np.random.default_rng(0)
    truths = [annotated(rng.integers(1, 4, (20, 20), np.int32)) for _ in range(3)]
    partitions = [[rng.integers(0, k, (20, 20)) for k in (2, 4, 9)] for _ in truths]
    found = score_scales(partitions, iter(truths))
    assert found["covering_ois"] >= found["covering"]
    assert found["rand_ois"] >= found["rand"]
    assert found["variation_ois"] <= found["variation"]
    assert "contour_fixed" not in found


def test_people_agree_with_people_on_the_real_set(shared_data):
    truths = [t for t, _ in zip(BSDS500("val", shared_data / "bsds500"), range(3), strict=False)]
    partitions = [[truth.segmentations[0]] for truth in truths]
    found = score_scales(partitions, iter(truths), Fixed(0, 0))
    assert 0.6 < found["covering"] < 1
    assert 0.7 < found["contour"] < 1
    assert found["variation"] < 1.8


def test_joined_parts_score_as_their_labels_do():
    rng = np.random.default_rng(0)
    fine = np.arange(24).reshape(4, 6).repeat(5, axis=0).repeat(5, axis=1) * 2 + 1
    coarse = rng.integers(0, 5, fine.max() + 1)[fine]
    crossing = rng.integers(0, 4, fine.shape)  # joins no parts
    truth = annotated(rng.integers(1, 4, fine.shape, np.int32), halves(fine.shape))
    (tally,) = tallies([[[fine, coarse, crossing]]], [truth])
    for scale, labels in enumerate((fine, coarse, crossing)):
        assert tally.rows[0][scale] == pytest.approx((
            sum(covering_counts(one, labels)[0] for one in truth.segmentations),
            np.mean([rand_index(one, labels) for one in truth.segmentations]),
            np.mean([variation_of_information(one, labels) for one in truth.segmentations]),
        ))  # fmt: skip


def test_each_reading_has_a_tally_of_its_own():
    truth = annotated(halves())
    readings = [[[halves() - 1], [np.zeros((10, 12), int)]]] * 2
    right, wrong = (tally.scores() for tally in tallies(readings, [truth, truth]))
    assert right["covering"] == 1
    assert wrong["covering"] == 0.5
