from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from training import bench_robustness
from training.bench_robustness import FAULTS, describe, table
from training.data.labelled import Labelled

TRUTH = np.ones((90, 90), np.uint8)
TRUTH[:, 50:], TRUTH[60:, 20:] = 2, 3
ITEM = Labelled("three", np.zeros((90, 90, 3), np.uint8), TRUTH)


def share_wrong(strokes):
    painted = strokes > 0
    return float((strokes[painted] != TRUTH[painted]).mean())


@pytest.mark.parametrize(("fault", "share"), [("none", 0), ("10 % spilled", 0.1)])
def test_spilling_paints_the_share_it_says_wrong(fault, share):
    painted, true = FAULTS[fault](ITEM, 3, 0)
    assert share_wrong(painted) == pytest.approx(share, abs=0.03)
    assert np.array_equal(painted, true)


def test_imbalance_fills_one_class_and_dots_the_others():
    painted, _ = FAULTS["20 pixels against a whole class"](ITEM, 3, 0)
    counts = np.bincount(painted.ravel(), minlength=4)[1:]
    assert sorted(counts)[:2] == [20, 20]
    assert counts.max() == np.bincount(TRUTH.ravel()).max()


def test_twins_have_two_ids_and_one_name():
    painted, true = FAULTS["every kind under two ids"](ITEM, 3, 0)
    assert set(np.unique(painted)) == {0, 1, 2, 3, 4, 5, 6}
    assert share_wrong(true) == 0
    assert np.array_equal(painted > 0, true > 0)


def test_every_third_image_lumps_two_kinds():
    names = [
        np.unique(FAULTS["two kinds under one id, every third image"](ITEM, 3, k)[0]).tolist()
        for k in range(4)
    ]
    assert names == [[0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 3]]


def test_true_names_stay_true_where_two_kinds_are_lumped():
    painted, true = FAULTS["two kinds under one id, every third image"](ITEM, 3, 0)
    assert 0 < share_wrong(painted) < 1
    assert share_wrong(true) == 0
    assert np.array_equal(painted > 0, true > 0)


def test_methods_that_are_told_names_are_told_the_true_ones(monkeypatch):
    told = {}

    def learn(method, images, given, targets, seed):
        told[method] = given
        return SimpleNamespace(labels=[np.zeros_like(TRUTH) for _ in targets])

    monkeypatch.setattr(bench_robustness, "split", lambda *_: ([ITEM], [ITEM], 3))
    for method in bench_robustness.METHODS:
        monkeypatch.setitem(bench_robustness.METHODS, method, partial(learn, method))
    bench_robustness.measure("any", FAULTS["two kinds under one id, every third image"], 0, 1)
    assert len(np.unique(told["ours"][0])) == 3  # unpainted and two ids
    for method in ("cross-entropy", "forest"):
        assert share_wrong(told[method][0]) == 0


def result_of(draws):
    """Return what `run` gives for one set and fault."""
    values = {"ours": [0.5, 0.75], "cross-entropy": [0.375, 0.125], "forest": [0.25, 0.25]}
    ari = {method: of[:draws] for method, of in values.items()}
    machine = {"processor": "one", "cores": 2, "torch": "2"}
    rows = [{"set": "wbc", "fault": "none", "ari": ari}]
    return {"rows": rows, "seeds": draws, "test": 3, "machine": machine}


def test_the_table_names_sets_and_faults(tmp_path):
    wanted = "| wbc | none | 0.625 ± 0.177 | 0.250 ± 0.177 | 0.250 ± 0.000 |"
    assert wanted in describe(result_of(2))
    assert "over 2 draws" in describe(result_of(2))
    table(result_of(2)).write(tmp_path)
    assert "wbc,none,0.625 ± 0.177" in (tmp_path / "robustness.csv").read_text("utf-8")


def test_one_draw_has_no_spread():
    text = describe(result_of(1))
    assert "| wbc | none | 0.500 | 0.375 | 0.250 |" in text
    assert "±" not in text
    assert "One draw of images and strokes." in text
