"""Redrawing for new labels only, with a project that another process writes."""

import numpy as np
import pytest

from napari_cas.protocol import Box, Tile
from napari_cas.store import Project
from napari_cas.ui.layers import LayerAdapter
from napari_cas.ui.news import News

VIEW = Tile("flat", (), Box(0, 0, 64, 80))
PART = Tile("flat", (), Box(0, 0, 32, 32))


@pytest.fixture
def flat(project, ramp):
    return project.add_image("flat", ramp(64, 80), "yx")


def predict(entry, label, tile=VIEW):
    """Write as the worker does, from outside, and forget what was read as the session does."""
    with Project.open(entry.folder.parents[1], mode="worker") as project:
        theirs = project.image("flat")
        theirs.prediction[tile.box.slices] = label
        theirs.flush()
    entry.prediction.invalidate(tile.plane, tile.box)


def test_the_same_labels_again_are_no_news(flat):
    news = News()
    predict(flat, 1)
    assert news.found(flat, VIEW, VIEW.box)
    predict(flat, 1)
    assert not news.found(flat, VIEW, VIEW.box)
    predict(flat, 2)
    assert news.found(flat, VIEW, VIEW.box)
    news.forget()
    assert news.found(flat, VIEW, VIEW.box)


def test_after_another_tile_it_is_news_though_it_went_back(flat):
    news = News()
    predict(flat, 1)
    assert news.found(flat, VIEW, VIEW.box)
    predict(flat, 2, PART)
    assert news.found(flat, PART, VIEW.box)
    predict(flat, 1)
    assert news.found(flat, VIEW, VIEW.box)


def test_a_part_of_what_was_drawn_is_no_news_and_the_whole_after_the_part_is_none(flat):
    news = News()
    predict(flat, 1)
    for tile, new in ((VIEW, True), (PART, False), (VIEW, False), (PART, False)):
        assert news.found(flat, tile, VIEW.box) == new


def test_what_lies_elsewhere_is_no_news(flat):
    predict(flat, 1)
    assert not News().found(flat, PART, Box(40, 40, 64, 80))


def test_the_layer_is_drawn_again_only_for_new_labels(model_viewer, flat):
    adapter = LayerAdapter(model_viewer)
    predict(flat, 1)
    adapter.show(flat, predicted=True)
    drawn = []
    adapter.prediction.events.set_data.connect(lambda _: drawn.append(1))
    for label, times in ((2, 1), (2, 1), (3, 2), (2, 3)):
        predict(flat, label)
        adapter.refresh(VIEW)
        assert len(drawn) == times
        assert (np.asarray(adapter.prediction.data[0]) == label).all()
    adapter.close()
