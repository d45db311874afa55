import numpy as np
import pytest

from napari_cas.store.ranges import range_without_spikes


def ends(values):
    known = values[~np.isnan(values)]
    low, high = np.percentile(known, [0.1, 99.9]) if len(known) else (0, 0)
    return float(low), float(high)


def spiked(image, share, value, seed=0):
    hot = np.random.default_rng(seed).random(image.shape) < share
    return np.where(hot, value, image)


@pytest.fixture
def image():
    noise = np.random.default_rng(1).normal(0, 3, (200, 200))
    return noise + np.linspace(100, 300, 200)


@pytest.mark.parametrize("value", [60_000.0, -60_000.0])
@pytest.mark.parametrize("share", [0.002, 0.005])
def test_hot_and_dead_pixels_are_no_part_of_the_range(image, share, value):
    low, high = range_without_spikes([spiked(image, share, value)], ends)
    assert (low, high) == pytest.approx(ends(image.ravel()), abs=10)


def test_ordinary_images_keep_their_percentiles(image):
    for picture in (image, np.random.default_rng(2).normal(0, 1, (90, 90))):
        assert range_without_spikes([picture], ends) == ends(picture.ravel())


@pytest.mark.parametrize("line", [np.s_[:, 50], np.s_[50]])
def test_lines_a_single_pixel_wide_count(image, line):
    image[line] = 9000
    assert range_without_spikes([image], ends)[1] == 9000


def test_points_on_nothing_are_all_there_is():
    assert range_without_spikes([spiked(np.zeros((99, 99)), 0.01, 7.0)], ends) == (0, 7)


def test_parts_may_have_gaps_and_be_flat_or_small(image):
    gaps = spiked(image, 0.005, 60_000.0)
    gaps[:60] = np.nan
    assert range_without_spikes([gaps, np.full((200, 3), np.nan)], ends)[1] < 400
    assert range_without_spikes([gaps[60:].ravel()], ends)[1] < 400
    assert range_without_spikes([np.array([[1.0, 2.0]])], ends) == ends(np.array([1.0, 2.0]))
