"""Runs of the saliency tables: scores that were kept are of the images at hand."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

import training.data.saliency as sets
from napari_cas.errors import CheckpointError
from training.saliency import runs
from training.saliency.recipe import small_recipe
from training.saliency.runs import Place, run

RECIPE = small_recipe(train_images=6, validation_images=3, epochs=1, size=64, batch_size=3)
TESTS = (runs.TestSet("ECSSD"), runs.TestSet("DUTS-TE", 3))


def change(path, later):
    """Invert a mask as if it had been written later."""
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    os.utime(path, (later, later))


@pytest.fixture
def place(tiny_set, tmp_path, monkeypatch):
    for name, count in (("DUTS-TR", 9), ("ECSSD", 4), ("DUTS-TE", 4)):
        data = tiny_set(name, "images/{}.png", "masks/{}.png", count=count)
        known = sets.SETS[name]
        smaller = sets.SaliencySet(name, count, known.roots, known.layouts, known.source)
        monkeypatch.setitem(sets.SETS, name, smaller)

    def fresh():
        return Place(data=data, cache=tmp_path / "cache", say=lambda _: None)

    return fresh


def test_scores_of_other_test_images_are_made_again_and_only_those(place, monkeypatch):
    first = run(RECIPE, TESTS, place())
    for i in range(4):
        change(place().data / f"ECSSD/masks/{i}.png", 1000)
    scored = []
    real = runs.score

    def score(trained, reader, test, device):
        scored.append(test.pictures.name)
        return real(trained, reader, test, device)

    monkeypatch.setattr(runs, "score", score)
    again = run(RECIPE, TESTS, place())
    assert scored == ["ECSSD"]
    assert again["scores"]["ECSSD"] != first["scores"]["ECSSD"]
    assert again["scores"]["DUTS-TE (3 images)"] == first["scores"]["DUTS-TE (3 images)"]
    assert run(RECIPE, TESTS, place())["scores"] == again["scores"]
    assert scored == ["ECSSD"]


def test_scores_of_a_set_that_is_not_asked_for_stay_with_its_digest(place):
    first = run(RECIPE, TESTS[:1], place())
    both = run(RECIPE, TESTS[1:], place())
    assert set(both["scores"]) == {"ECSSD", "DUTS-TE (3 images)"}
    assert both["digests"]["tested"]["ECSSD"] == first["digests"]["tested"]["ECSSD"]


def test_scores_of_a_run_on_other_training_images_are_not_returned(place):
    run(RECIPE, TESTS, place())
    for i in range(9):
        change(place().data / f"DUTS-TR/masks/{i}.png", 1000)
    with pytest.raises(CheckpointError, match="was begun on other images"):
        run(RECIPE, TESTS, place())


def test_scores_that_do_not_say_of_which_images_are_made_again(place):
    first = run(RECIPE, TESTS[:1], place())
    file = place().runs / RECIPE.key / "scores.json"
    kept = json.loads(file.read_text())
    del kept["digests"]
    kept["scores"]["ECSSD"]["f"] = 2.0
    file.write_text(json.dumps(kept))
    assert run(RECIPE, TESTS[:1], place())["scores"] == first["scores"]
