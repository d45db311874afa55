"""Kept scores of the tables of regions are of the images and annotations at hand."""

from __future__ import annotations

import os

import pytest

from training import table_bsds, table_regions
from training.at_hand import digest_at_hand
from training.data.bsds import SPLITS
from training.data.saliency import DataSetError
from training.kept import kept_scores
from training.report import Table
from training.saliency.runs import Place
from training.table_regions import BUDGETS, Variant, add_runs


@pytest.fixture
def place(tmp_path, monkeypatch):
    """One image of each split of BSDS500; nothing reads them."""
    for split in SPLITS:
        monkeypatch.setitem(SPLITS, split, 1)
        for part, suffix in (("images", "jpg"), ("groundTruth", "mat")):
            folder = tmp_path / "data" / "bsds500" / part / split
            folder.mkdir(parents=True)
            (folder / f"7.{suffix}").write_text("as published")
    return lambda: Place(tmp_path / "data", tmp_path / "cache", say=lambda _: None, small=True)


def touched(place):
    file = place().data / "bsds500" / "groundTruth" / "test" / "7.mat"
    file.write_text("annotated anew")
    os.utime(file, (1000, 1000))


@pytest.mark.parametrize("train_set", BUDGETS)
def test_every_table_has_a_digest_or_says_what_is_missing(train_set, tmp_path):
    with pytest.raises(DataSetError, match="was not found"):
        digest_at_hand(train_set, Place(tmp_path, tmp_path))


@pytest.mark.parametrize("part", ["images/train/7.jpg", "groundTruth/val/7.mat"])
def test_a_file_of_the_same_name_changes_the_digest(place, part):
    before = digest_at_hand("BSDS500", place())
    assert digest_at_hand("BSDS500", place()) == before
    file = place().data / "bsds500" / part
    os.utime(file, (1000, 1000))
    assert digest_at_hand("BSDS500", place()) != before


def test_runs_are_scored_again_where_the_data_changed(place):
    variant = Variant("any", {"channels": 4})
    made = []

    def score(recipe, place):
        made.append(recipe.key)
        return {"covering": len(made) / 10, "record": _RECORD}

    def cells(method, done):
        return [{"method": method, "covering": done[0]["covering"]}]

    def again():
        table = Table("t", "T", ())
        add_runs(table, "BSDS500", [variant], place(), 1, "", score, cells)
        return table.rows[0]["covering"]

    assert [again(), again()] == [0.1, 0.1]
    touched(place)
    assert [again(), again()] == [0.2, 0.2]


def test_baselines_are_scored_again_where_the_data_changed(place, monkeypatch):
    made = []

    def score(readings, place):
        made.append(1)
        return [{"covering": len(made) / 10}]

    monkeypatch.setattr(table_bsds, "_scores", score)

    def again():
        return table_bsds._kept_baseline("one region", table_bsds._whole, place())["covering"]

    assert [again(), again()] == [0.1, 0.1]
    touched(place)
    assert [again(), again()] == [0.2, 0.2]


def test_scores_that_do_not_say_of_which_data_are_made_again(place):
    file = place().cache / "scores.json"
    table_regions.keep_scores(file, {"covering": 0.5})
    assert kept_scores(file, digest_at_hand("BSDS500", place())) == {}


_RECORD = {
    "code": None,
    "cpu_seconds": 1.0,
    "recipe": {"epochs": 1},
    "train_images": 1,
    "device": "cpu",
}
