"""Region scores against scikit-learn, scikit-image and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, rand_score

from napari_cas.errors import InputError
from napari_cas.metrics import regions
from napari_cas.metrics.regions import (
    adjusted_rand_index,
    contingency,
    covering,
    covering_counts,
    overlap,
    probabilistic_rand_index,
    rand_index,
    variation_of_information,
)

labels = st.lists(st.tuples(st.integers(-3, 6), st.integers(0, 4)), min_size=2, max_size=60).map(
    lambda pairs: np.array(pairs, dtype=np.int64).T
)


def blocks(rows: int, columns: int, size: int = 8) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (y * rows // size) * columns + x * columns // size + 1


@given(labels)
def test_rand_indices_are_those_of_scikit_learn(pair):
    a, b = pair
    assert rand_index(a, b, ignore=None) == pytest.approx(rand_score(a, b), abs=1e-12)
    expected = adjusted_rand_score(a, b)
    assert adjusted_rand_index(a, b, ignore=None) == pytest.approx(expected, abs=1e-12)


@given(labels)
def test_variation_of_information_is_that_of_scikit_image(pair):
    from skimage.metrics import variation_of_information as reference

    a, b = pair[0] + 3, pair[1]
    # skimage splits it in two, by conditional entropy, in bits
    expected = sum(reference(a, b))
    assert variation_of_information(a, b, ignore=None) == pytest.approx(expected, abs=1e-9)


@given(labels, st.randoms(use_true_random=False))
def test_names_of_regions_do_not_matter(pair, random):
    a, b = pair
    names = list(range(100, 120))
    random.shuffle(names)
    renamed = np.array(names)[b]
    before, after = overlap(a, b, ignore=None), overlap(a, renamed, ignore=None)
    assert after.adjusted_rand_index() == pytest.approx(before.adjusted_rand_index())
    assert after.variation_of_information() == pytest.approx(before.variation_of_information())
    assert after.covering_counts() == pytest.approx(before.covering_counts())


@given(labels)
def test_the_table_counts_every_pair(pair):
    a, b = pair
    table = contingency(a, b, ignore=None)
    for i, u in enumerate(np.unique(a)):
        for j, v in enumerate(np.unique(b)):
            assert table[i, j] == ((a == u) & (b == v)).sum()


@given(labels)
def test_pairs_that_share_pixels_are_those_of_the_table(pair):
    a, b = pair
    found, table = overlap(a, b, ignore=None), contingency(a, b, ignore=None)
    assert np.array_equal(found.shared, table[table > 0])
    assert np.array_equal(np.stack([found.truth, found.prediction]), np.stack(np.nonzero(table)))
    rows, columns = found.sizes
    assert (rows.tolist(), columns.tolist()) == (table.sum(1).tolist(), table.sum(0).tolist())
    union = rows[:, None] + columns - table
    assert np.array_equal(found.iou(), (table / union)[table > 0])
    assert found.covering_counts()[0] == pytest.approx((rows * (table / union).max(1)).sum())


@given(labels)
def test_sorted_keys_give_what_a_table_gives(pair):
    counted = overlap(*pair, ignore=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "_FEW", -(1 << 16))
        other = overlap(*pair, ignore=None)
    for name in ("truth", "prediction", "shared"):
        assert np.array_equal(getattr(counted, name), getattr(other, name))
    assert counted.shape == other.shape


def test_maps_of_a_hundred_thousand_objects_are_scored():
    y, x = np.mgrid[:960, :960]
    truth = y // 3 * 320 + x // 3 + 1  # 102,400 squares of 3 × 3: all pairs would be 80 GB
    prediction = np.roll(truth, 1, axis=1)
    assert adjusted_rand_index(truth, truth) == covering(truth, truth) == 1.0
    assert variation_of_information(truth, truth) == 0.0
    # Two thirds of each square is shared with one, a third with another: 6 / 12 the best IoU.
    assert covering(truth, prediction) == pytest.approx(0.5)
    bits = 2 * (2 / 3 * np.log2(3 / 2) + 1 / 3 * np.log2(3))
    assert variation_of_information(truth, prediction) == pytest.approx(bits)


def test_labels_far_apart_and_negative_are_fine():
    a = np.array([-(2**40), 2**40, 5, 5])
    b = np.array([1, 2, 3, 3], dtype=np.uint8)
    assert adjusted_rand_index(a, b, ignore=None) == 1.0
    assert contingency(a, b, ignore=None).tolist() == [[1, 0, 0], [0, 0, 2], [0, 1, 0]]


@pytest.mark.parametrize("kind", [np.uint64, np.int64, np.int8, np.uint8])
def test_labels_at_the_ends_of_their_type_are_fine(kind):
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    for first, last in ((low, low + 3), (high - 3, high), (low, high)):
        a = np.array([first, first, last, last], dtype=kind)
        assert contingency(a, a, ignore=None).tolist() == [[2, 0], [0, 2]]


def test_halves_against_quarters_by_hand():
    truth, prediction = blocks(1, 2), blocks(2, 2)  # 64 pixels; halves of 32, quarters of 16
    # pairs joined in both = in the quarters = 4·C(16,2) = 480; in the halves 2·C(32,2) = 992
    assert rand_index(truth, prediction) == pytest.approx(1 - (992 + 480 - 2 * 480) / 2016)
    expected = 992 * 480 / 2016
    ari = (480 - expected) / ((992 + 480) / 2 - expected)
    assert adjusted_rand_index(truth, prediction) == pytest.approx(ari)
    assert variation_of_information(truth, prediction) == pytest.approx(1.0)  # one bit more
    assert covering(truth, prediction) == pytest.approx(0.5)  # each half covered by a quarter
    assert covering(prediction, truth) == pytest.approx(0.5)  # 16 / 32


def test_covering_takes_the_best_region_and_weighs_by_size():
    truth = np.array([1, 1, 1, 1, 1, 1, 2, 2])
    prediction = np.array([7, 7, 7, 7, 9, 9, 9, 9])
    # region 1: max(4/6, 2/8) = 2/3; region 2: 2/4
    assert covering(truth, prediction) == pytest.approx((6 * 4 / 6 + 2 * 0.5) / 8)
    assert covering_counts(truth, prediction) == pytest.approx((5.0, 8.0))


def test_several_annotators_are_averaged():
    first, second, prediction = blocks(1, 2), blocks(2, 2), blocks(1, 2)
    pri = probabilistic_rand_index([first, second], prediction)
    assert pri == pytest.approx((1 + rand_index(second, prediction)) / 2)
    assert variation_of_information([first, second], prediction) == pytest.approx(0.5)
    assert covering([first, second], prediction) == pytest.approx((1 + 0.5) / 2)
    assert covering_counts([first, second], prediction)[1] == 128


def test_ignored_pixels_change_nothing():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(1, 4, (20, 20)), rng.integers(0, 5, (20, 20))
    hidden = truth.copy()
    hidden[5:9] = 0
    for score in (rand_index, adjusted_rand_index, variation_of_information, covering):
        kept = np.r_[0:5, 9:20]
        assert score(hidden, prediction) == score(truth[kept], prediction[kept])
        assert score(hidden, prediction, ignore=None) != score(hidden, prediction)


@pytest.mark.parametrize("value", [0, 3])
def test_equal_partitions_are_perfect_even_when_degenerate(value):
    one = np.full((4, 4), value)
    many = np.arange(16).reshape(4, 4)
    for same in (one, many):
        assert adjusted_rand_index(same, same, ignore=None) == 1.0
        assert rand_index(same, same, ignore=None) == 1.0
        assert variation_of_information(same, same, ignore=None) == 0.0
        assert covering(same, same, ignore=None) == 1.0
    assert adjusted_rand_index(one, many, ignore=None) == 0.0


def test_nothing_to_score_is_perfect_rather_than_a_warning():
    empty = np.zeros((4, 4), int)
    assert adjusted_rand_index(empty, empty) == 1.0
    assert covering(empty, empty) == 1.0
    assert variation_of_information(empty, empty) == 0.0


def test_large_images_do_not_overflow():
    truth = np.zeros(9_000_000, np.uint8)
    truth[truth.size // 2 :] = 1
    assert adjusted_rand_index(truth, truth, ignore=None) == 1.0


def test_bad_input_is_named():
    with pytest.raises(InputError, match="float64"):
        rand_index(np.zeros(3), np.zeros(3, int))
    with pytest.raises(InputError, match=r"\(2, 2\).*\(4,\)"):
        rand_index(np.ones((2, 2), int), np.ones(4, int))
