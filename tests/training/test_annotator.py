import numpy as np
import pytest

from training.annotator import correct, read_as_regions


@pytest.fixture
def halves():
    """A truth of two halves with a strip that is not known, and a stroke in each."""
    truth = np.ones((40, 60), np.int32)
    truth[:, 30:] = 2
    truth[:2] = 0
    painted = np.zeros_like(truth)
    painted[10, 5:25], painted[10, 35:55] = 7, 4
    return truth, painted


def test_labels_are_read_as_the_region_whose_strokes_they_are_on(halves):
    truth, painted = halves
    labels = np.full(truth.shape, 5)  # most of it lies in region 1
    labels[:, 50:] = 3
    found = read_as_regions(labels, truth, painted)
    assert set(np.unique(found[labels == 5])) == {1}
    assert set(np.unique(found[labels == 3])) == {2}
    # Both on strokes of region 2 alone: so the second colour is another sign for it.
    labels[:20, :30] = 3
    assert set(np.unique(read_as_regions(labels, truth, painted * (truth == 2)))) == {2}


def test_a_label_on_no_strokes_is_read_as_what_it_covers_most(halves):
    truth, painted = halves
    labels = np.where(truth == 0, 9, truth)
    labels[30:, 20:34] = 7
    found = read_as_regions(labels, truth, painted)
    assert set(np.unique(found[labels == 7])) == {1}
    assert (found[:2] == 0).all()  # on nothing known


def test_the_largest_wrong_places_get_strokes_of_their_region(halves):
    truth, painted = halves
    before = painted.copy()
    labels = truth.copy()
    labels[20:36, 4:14] = 2  # large
    labels[30:38, 50:58] = 1  # smaller
    labels[5:7, 40:42] = 1  # too small to be seen
    fresh = correct(labels, truth, painted, np.random.default_rng(0), strokes=5)
    assert (painted[~fresh] == before[~fresh]).all()
    assert fresh[20:36, 4:14].any()
    assert fresh[30:38, 50:58].any()
    assert not fresh[5:7, 40:42].any()
    assert set(np.unique(painted[fresh & (truth == 1)])) == {7}
    assert set(np.unique(painted[fresh & (truth == 2)])) == {4}


def test_no_more_strokes_than_asked_for(halves):
    truth, painted = halves
    labels = truth.copy()
    labels[20:36, 4:14], labels[30:38, 50:58] = 2, 1
    fresh = correct(labels, truth, painted, np.random.default_rng(0), strokes=1)
    assert fresh[20:36, 4:14].any()
    assert not fresh[30:38, 50:58].any()


def test_nothing_wrong_is_nothing_painted(halves):
    truth, painted = halves
    assert not correct(truth, truth, painted, np.random.default_rng(0)).any()
