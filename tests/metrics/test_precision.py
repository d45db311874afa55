"""Average precision beside scikit-learn's, and beside VOC's rule written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from napari_cas.errors import InputError
from napari_cas.metrics.precision import average_precision


def voc_devkit(truth: np.ndarray, scores: np.ndarray) -> float:
    """The development kit's VOCap, its loop as it stands, for scores without ties."""
    order = np.argsort(-scores)
    hit = truth[order]
    recall = np.concatenate([[0], np.cumsum(hit) / hit.sum(), [1]])
    precision = np.concatenate([[0], np.cumsum(hit) / np.arange(1, len(hit) + 1), [0]])
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(((recall[steps] - recall[steps - 1]) * precision[steps]).sum())


@pytest.mark.parametrize("levels", [3, 20, 10**9])
def test_as_scikit_learn_has_it_ties_included(levels):
    rng = np.random.default_rng(levels)
    truth = rng.random((40, 50)) < 0.2
    scores = rng.integers(0, levels, truth.shape) / levels + 0.3 * truth
    scores = np.round(scores * min(levels, 10**6)) / min(levels, 10**6)
    expected = average_precision_score(truth.ravel(), scores.ravel())
    assert average_precision(truth, scores, monotonic=False) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int8, np.float16, bool])
def test_scores_of_any_real_dtype(dtype):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 100, 500).astype(dtype)
    truth = rng.random(500) < scores.astype(float) / 100
    expected = average_precision_score(truth, scores.astype(float))
    assert average_precision(truth, scores, monotonic=False) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_as_voc_has_it(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(300) < 0.3
    scores = rng.permutation(300) + 60 * truth
    scores = scores + rng.random(300) * 1e-3
    found = average_precision(truth, scores)
    assert found == pytest.approx(voc_devkit(truth, scores))
    assert found > average_precision(truth, scores, monotonic=False)


def test_a_perfect_order_scores_one_and_a_constant_the_share_of_the_true():
    truth = np.array([True, True, False, False, False])
    assert average_precision(truth, np.array([9, 8, 3, 2, 1])) == 1.0
    assert average_precision(truth, np.zeros(5)) == pytest.approx(0.4)
    assert np.isnan(average_precision(np.zeros(5, bool), np.arange(5)))


def test_what_cannot_be_ranked_is_an_error():
    with pytest.raises(InputError, match="do not fit"):
        average_precision(np.ones(3, bool), np.ones((3, 1)))
    with pytest.raises(InputError, match="cannot be ranked"):
        average_precision([True, False], [np.nan, 1.0])
