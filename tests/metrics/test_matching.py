"""One map from channels to classes for a whole set."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from napari_cas.errors import InputError
from napari_cas.metrics.matching import class_confusion, match_channels


def test_confusion_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (30, 30)), rng.integers(0, 4, (30, 30))
    ours = class_confusion(truth, prediction, classes=4, channels=4, ignore=None)
    assert ours.tolist() == confusion_matrix(truth.ravel(), prediction.ravel()).tolist()
    ignoring = class_confusion(truth, prediction, classes=4, channels=4, ignore=2)
    assert ignoring[2].sum() == 0
    assert ignoring.sum() == (truth != 2).sum()


def test_the_map_is_the_best_of_all_permutations():
    rng = np.random.default_rng(1)
    for _ in range(20):
        table = rng.integers(0, 50, (4, 4))
        best = max(sum(table[k, p[k]] for k in range(4)) for p in permutations(range(4)))
        assert match_channels(table).accuracy == pytest.approx(best / table.sum())


def test_iou_is_the_jaccard_score_once_channels_are_renamed():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 5000)
    channel = np.array([4, 0, 2])[truth]
    wrong = rng.random(5000) < 0.2
    channel[wrong] = rng.integers(0, 5, wrong.sum())
    found = match_channels(class_confusion(truth, channel, classes=3, channels=5, ignore=None))
    assert found.classes[4] == 0
    assert found.classes[0] == 1
    assert found.classes[2] == 2
    renamed = np.array([1, 9, 2, 9, 0])[channel]
    expected = jaccard_score(truth, renamed, average=None, labels=[0, 1, 2])
    assert list(found.iou.values()) == pytest.approx(list(expected))
    assert found.mean_iou == pytest.approx(expected.mean())
    assert found.accuracy == pytest.approx((truth == renamed).mean())


def test_a_class_split_over_two_channels_loses_unless_many_may_share_it():
    table = [[60, 40, 0], [0, 0, 100]]
    single = match_channels(table)
    assert single.iou == {0: pytest.approx(0.6), 1: 1.0}
    shared = match_channels(table, many_to_one=True)
    assert shared.mean_iou == 1.0
    assert shared.classes == {0: 0, 1: 0, 2: 1}


def test_one_map_for_the_set_sees_channels_swapped_between_images():
    truth = np.array([1, 1, 2, 2])
    first, second = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])
    table = sum(class_confusion(truth, p, classes=3, channels=2) for p in (first, second))
    assert match_channels(table).accuracy == 0.5
    alone = class_confusion(truth, second, classes=3, channels=2)
    assert match_channels(alone).accuracy == 1.0


def test_a_class_left_without_a_channel_scores_zero():
    found = match_channels([[50, 0], [30, 0], [0, 20]])
    assert found.iou == {0: pytest.approx(50 / 80), 1: 0.0, 2: 1.0}


def test_absent_classes_are_not_scored():
    assert match_channels([[0, 0], [10, 0]]).iou == {1: 1.0}


@pytest.mark.parametrize("table", [[1, 2], [[0, 0]]])
def test_nothing_to_match_is_an_error(table):
    with pytest.raises(InputError, match="Nothing to match"):
        match_channels(table)


def test_labels_out_of_range_are_an_error():
    with pytest.raises(InputError, match="0 to 1"):
        class_confusion([1, 2], [0, 0], classes=2, channels=2)
