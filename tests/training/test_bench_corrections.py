from types import SimpleNamespace

import numpy as np
import pytest

from napari_cas.engine import trainer
from training import bench_corrections
from training.bench_corrections import UNTAUGHT, Pressed, describe, measure, summarise
from training.data.labelled import Labelled


@pytest.fixture
def blobs(monkeypatch):
    """Stand in for a set: one small image of two areas, a part of one of which looks otherwise."""
    rng = np.random.default_rng(0)
    truth = np.ones((64, 96), np.uint8)
    truth[:, 48:] = 2
    bright = np.where(truth == 2, 150, 90)
    bright[40:, :24] = 200
    image = rng.normal(0, 8, (64, 96, 3)) + bright[..., None]
    item = Labelled("areas", image.clip(0, 255).astype(np.uint8), truth)
    monkeypatch.setattr(bench_corrections, "singles", lambda *_: iter([item]))
    monkeypatch.setattr(bench_corrections, "check_sets", lambda _: None)
    monkeypatch.setattr(trainer, "_ENOUGH", 100)  # a round
    return item


@pytest.mark.parametrize("method", ["ours", UNTAUGHT, "forest"])
def test_corrections_lead_to_the_truth(blobs, method):
    pressed = measure(blobs, method, seed=0, presses=3, strokes=2)
    assert len(pressed) == 4
    assert pressed[-1].ari > 0.9
    assert pressed[0].obeyed == 1.0  # nothing was corrected yet


def test_taught_once_means_that_later_strokes_are_followed_only(blobs, monkeypatch):
    steps = []
    train = trainer.Trainer.train
    monkeypatch.setattr(
        trainer.Trainer, "train", lambda self, *args: steps.append(1) or train(self, *args)
    )
    once, again = measure(blobs, UNTAUGHT, 0, presses=0, strokes=2), len(steps)
    steps.clear()
    more = measure(blobs, UNTAUGHT, 0, presses=2, strokes=2)
    assert len(steps) == again
    assert more[0] == once[0]
    assert more[1].ari > more[0].ari


def test_the_summary_has_means_and_the_deepest_fall():
    one = [Pressed(0.5, 1.0), Pressed(0.2, 0.5), Pressed(0.9, 1.0)]
    other = [Pressed(0.7, 1.0), Pressed(0.8, 1.0), Pressed(0.7, 0.5)]
    found = summarise([one, other])
    assert found["ari 0"] == pytest.approx(0.6)
    assert found["ari 2"] == pytest.approx(0.8)
    assert found["obeyed"] == pytest.approx(0.75)
    assert found["fall"] == pytest.approx((0.3 + 0.1) / 2)


def test_the_table_says_what_was_measured(blobs, tmp_path):
    args = SimpleNamespace(
        sets=["any"], methods=["forest"], images=1, presses=1, strokes=1, seed=0, results=tmp_path
    )
    result = bench_corrections.run(args)
    assert describe(result).startswith("any, forest: ")
    text = (tmp_path / "corrections.md").read_text(encoding="utf-8")
    assert "| any | forest |" in text
    assert "| press 0 | press 1 |" in text
