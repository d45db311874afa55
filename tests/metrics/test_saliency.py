"""Saliency scores against an independent implementation's figures and against plain loops.

The figures named pysodmetrics were computed once with pysodmetrics 1.6.2 (MIT licence) on the map
that :func:`made` makes; the package itself pins older versions of numpy and scikit-image than are
used here. On 40 maps of DSS on SOD all scores agreed with it to 1e-15.
"""

from __future__ import annotations

import numpy as np
import pytest

from napari_cas.errors import InputError
from napari_cas.metrics import saliency as sal


def made() -> tuple[np.ndarray, np.ndarray]:
    """Return an 8-bit map and a mask of two objects, one of which the map misses."""
    y, x = np.mgrid[:48, :64]
    truth = (np.hypot(y - 20, x - 30) < 12) | ((y > 36) & (x > 50))
    grey = 60 + 40 * np.sin(x / 7) + 30 * np.cos(y / 5) + 120 * (np.hypot(y - 22, x - 33) < 11)
    return np.clip(grey, 0, 255).astype(np.uint8), truth


def test_all_scores_are_those_of_pysodmetrics():
    found, truth = made()
    found = sal.stretch(found)
    mask = found >= sal.adaptive_threshold(found)
    assert sal.mean_absolute_error(found, truth) == pytest.approx(0.41189914279513884)
    assert sal.s_measure(found, truth) == pytest.approx(0.4577484937202401)
    assert sal.weighted_f_measure(found, truth) == pytest.approx(0.2656548559577124)
    assert sal.e_measure(mask, truth) == pytest.approx(0.4183641034174143)
    assert sal.f_measure(mask, truth) == pytest.approx(0.3050541516245488)
    at = [0, 64, 128, 200, 255]
    f = [0.2322858903, 0.2414424514, 0.3536243180, 0.4540298507, 0.0]
    e = [0.2500814067, 0.1654882801, 0.5923637447, 0.5252972490, 0.2513580150]
    precision = [0.1888020833, 0.1986410871, 0.3146979261, 0.7267080745, 0.0]
    assert sal.f_curve(found, truth)[at] == pytest.approx(f)
    assert sal.e_curve(found, truth)[at] == pytest.approx(e)
    assert sal.precision_recall(found, truth)[0][at] == pytest.approx(precision)


def test_curves_are_the_scores_of_every_thresholded_map():
    found, truth = made()
    precision, recall = sal.precision_recall(found, truth)
    f, e = sal.f_curve(found, truth), sal.e_curve(found, truth)
    for t in range(0, 256, 5):
        mask = found >= t
        both = (mask & truth).sum()
        assert recall[t] == pytest.approx(both / truth.sum())
        assert precision[t] == pytest.approx(both / mask.sum() if mask.any() else 1.0)
        assert f[t] == pytest.approx(sal.f_measure(mask, truth))
        assert e[t] == pytest.approx(sal.e_measure(mask, truth))


def test_f_measure_by_hand():
    found = np.array([[1, 1, 1, 0]], bool)
    truth = np.array([[1, 0, 0, 1]], bool)
    # P = 1/3, R = 1/2: 1.3 · 1/6 / (0.3/3 + 1/2)
    assert sal.f_measure(found, truth) == pytest.approx(1.3 / 6 / 0.6)
    assert sal.f_measure(found, truth, beta2=1) == pytest.approx(2 / 5)


def test_enhanced_alignment_is_its_definition():
    rng = np.random.default_rng(0)
    found, truth = rng.random((9, 11)) < 0.4, rng.random((9, 11)) < 0.3
    x, y = found - found.mean(), truth - truth.mean()
    aligned = 2 * x * y / (x * x + y * y)
    expected = ((aligned + 1) ** 2 / 4).sum() / (found.size - 1)
    assert sal.e_measure(found, truth) == pytest.approx(expected)


def test_perfect_and_worst_maps():
    truth = made()[1]
    assert sal.mean_absolute_error(truth, truth) == 0
    assert sal.f_measure(truth, truth) == pytest.approx(1)
    assert sal.weighted_f_measure(truth.astype(float), truth) == pytest.approx(1)
    assert sal.s_measure(truth.astype(float), truth) == pytest.approx(1)
    assert sal.e_measure(truth, truth) == pytest.approx(1, abs=1e-3)
    assert sal.mean_absolute_error(~truth, truth) == 1
    assert sal.f_measure(~truth, truth) == 0
    assert sal.weighted_f_measure((~truth).astype(float), truth) == pytest.approx(0, abs=0.05)


def test_errors_far_from_the_object_weigh_more():
    truth = np.zeros((40, 40), bool)
    truth[16:24, 16:24] = True
    near, far = truth.astype(float), truth.astype(float)
    near[24:28, 16:24], far[34:38, 2:10] = 1, 1
    assert sal.mean_absolute_error(near, truth) == sal.mean_absolute_error(far, truth)
    assert sal.weighted_f_measure(near, truth) > sal.weighted_f_measure(far, truth)


@pytest.mark.parametrize("value", [False, True])
def test_truths_of_one_value_only(value):
    truth = np.full((8, 8), value)
    grey = np.full((8, 8), 0.25)
    assert sal.s_measure(grey, truth) == pytest.approx(0.25 if value else 0.75)
    assert sal.f_measure(np.zeros((8, 8), bool), truth) == 0
    assert sal.e_measure(truth, truth) == pytest.approx(64 / 63)
    assert np.isfinite(sal.weighted_f_measure(grey, truth))


def test_eight_bit_maps_and_their_fractions_score_alike():
    found, truth = made()
    assert sal.f_curve(found / 255, truth) == pytest.approx(sal.f_curve(found, truth))
    assert sal.mean_absolute_error(found / 255, truth) == sal.mean_absolute_error(found, truth)


def test_the_adaptive_threshold_is_capped():
    assert sal.adaptive_threshold(np.full((2, 2), 0.2)) == pytest.approx(0.4)
    assert sal.adaptive_threshold(np.full((2, 2), 0.8)) == 1.0
    assert sal.adaptive_threshold(np.full((2, 2), 0.8), cap=0.9) == 0.9


def test_a_flat_map_is_not_stretched():
    assert sal.stretch(np.full((2, 2), 51, np.uint8)) == pytest.approx(0.2)
    assert sal.stretch(np.array([[50, 100]], np.uint8)).tolist() == [[0, 1]]


@pytest.mark.parametrize("bad", [np.full((3, 3), 1.5), np.full((3, 3), np.nan), -np.eye(3)])
def test_maps_out_of_range_are_errors(bad):
    with pytest.raises(InputError, match="Not a map"):
        sal.mean_absolute_error(bad, np.eye(3, dtype=bool))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_maps_without_pixels_are_errors(dtype):
    with pytest.raises(InputError, match=r"expected pixels, got \(0, 4\)"):
        sal.s_measure(np.zeros((0, 4), dtype), np.zeros((0, 4), bool))


def test_the_alignment_of_one_pixel_is_a_number_like_others():
    pixel = np.ones((1, 1), bool)
    assert sal.e_measure(pixel, pixel) == 1


def test_shapes_and_types_are_checked():
    with pytest.raises(InputError, match="do not fit"):
        sal.f_curve(np.zeros((3, 3)), np.zeros((3, 4), bool))
    with pytest.raises(InputError, match="float64"):
        sal.f_measure(np.zeros((3, 3), bool), np.zeros((3, 3)))
