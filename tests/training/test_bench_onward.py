from types import SimpleNamespace

import numpy as np
import pytest

from napari_cas.engine import trainer
from training import bench_onward
from training.bench_label_free import Cell
from training.bench_onward import Pointed, Step, corrected, describe, summarise, walk
from training.data.labelled import Labelled


def areas(name, patch=0, seed=0):
    """Return an image of two areas; in the left one is a patch that is as bright as the right."""
    rng = np.random.default_rng(seed)
    truth = np.ones((64, 96), np.uint8)
    truth[:, 48:] = 2
    bright = np.where(truth == 2, 150, 90)
    bright[36:60, 4:30] += patch
    image = rng.normal(0, 8, (64, 96, 3)) + bright[..., None]
    return Labelled(name, image.clip(0, 255).astype(np.uint8), truth)


@pytest.fixture
def images(monkeypatch):
    """Stand in for a set: a plain image is painted first, others have a patch."""
    painted = [areas("a"), areas("b", 60, 1)]
    others = [areas("c", 60, 2)]
    monkeypatch.setattr(bench_onward, "split", lambda *_: (painted, others, 2))
    monkeypatch.setattr(bench_onward, "check_sets", lambda _: None)
    monkeypatch.setattr(trainer, "_ENOUGH", 100)  # a round
    return painted


@pytest.mark.parametrize("method", ["ours", "forest"])
def test_what_is_corrected_on_an_image_helps_with_others(images, method):
    first, second = walk(Cell("any", 2, 0.8, 0), method, strokes=2, test=1)
    assert first.here > 0.9
    assert second.before < first.here
    assert second.here > second.before - 0.01
    assert second.held > first.held - 0.01


def test_an_annotator_points_at_kinds_by_the_labels_they_have(images, monkeypatch):
    one = Pointed(3, 0)
    named = np.zeros((64, 96), np.int32)
    named[5:9, 5:30], named[5:9, 60:90] = 1, 2
    one.teach(images[0], named)
    (labels,) = one.segment([images[0]])
    assert (one.read(labels) == images[0].truth).mean() > 0.95
    assert (one.read(one._label_of(images[0].truth.astype(np.int32))) == images[0].truth).all()
    third = one._label_of(np.full((2, 2), 3, np.int32))  # a kind that nothing stands for
    assert (one.read(third) == 0).all()
    assert third.min() > 0


def test_strokes_are_painted_where_it_is_wrong_and_under_the_right_name():
    truth = areas("a").truth.astype(np.int32)
    read = np.ones_like(truth)
    named = corrected(read, truth, np.random.default_rng(0), 3)
    assert set(np.unique(named)) == {0, 2}
    assert (truth[named == 2] == 2).all()
    assert not corrected(truth, truth, np.random.default_rng(0), 3).any()


def test_the_summary_leaves_the_first_image_out_of_what_was_shown():
    found = summarise(
        [[Step(0, 0.5, 0.4), Step(0.6, 0.8, 0.7)], [Step(0, 0.9, 0.6), Step(0.4, 1, 0.9)]]
    )
    assert found == pytest.approx({"held 1": 0.5, "held 2": 0.8, "before": 0.5, "here": 0.9})


def test_the_table_says_what_was_measured(images, tmp_path):
    args = SimpleNamespace(
        sets=["any"], methods=["forest"], images=2, strokes=1, test=1, seeds=1, results=tmp_path
    )
    assert describe(bench_onward.run(args)).startswith("any, forest: ")
    text = (tmp_path / "onward.md").read_text(encoding="utf-8")
    assert "| set | method | image 1 | image 2 | as shown | corrected |" in text
