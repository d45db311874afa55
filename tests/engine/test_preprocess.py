import numpy as np
import pytest

from napari_cas.engine.preprocess import NEUTRAL, Scaling, check_channels, no_data, principal_mixing
from napari_cas.errors import ImageError


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_the_range_becomes_0_to_255(dtype):
    rng = np.random.default_rng(0)
    image = (rng.random((2, 50, 60)) * 100 + [[[0]], [[20]]]).astype(dtype)
    scaled = Scaling.of_image(image).apply(image)
    assert scaled.dtype == np.float32
    for channel in scaled:
        assert np.percentile(channel, 0.1) == pytest.approx(0, abs=3)
        assert np.percentile(channel, 99.9) == pytest.approx(255, abs=3)


def test_colours_share_a_range_and_stains_do_not():
    image = np.stack([np.linspace(0, top, 400).reshape(20, 20) for top in (100, 150, 200)])
    hues = Scaling.of_image(image.astype(np.uint8))
    assert len(set(hues.low.tolist())) == len(set(hues.high.tolist())) == 1
    stains = Scaling.of_image(image.astype(np.uint16))
    assert len(set(stains.high.tolist())) == 3


def test_hot_pixels_stay_within_bounds_and_constant_channels_are_black():
    image = np.zeros((2, 40, 50), np.float32)
    image[0] = np.linspace(0, 1, 2000).reshape(40, 50)
    image[0, 0, 0] = 1e9
    scaled = Scaling.of_image(image).apply(image)
    assert scaled.max() == 510
    assert not scaled[1].any()


def test_many_hot_pixels_leave_the_image_its_contrast():
    image = np.linspace(500, 2500, 10_000).reshape(1, 100, 100).astype(np.uint16)
    clean = Scaling.of_image(image).apply(image)
    hot = np.random.default_rng(0).random(image.shape) < 0.005
    image[hot] = 65_000
    scaled = Scaling.of_image(image).apply(image)
    assert np.allclose(scaled[~hot], clean[~hot], atol=5)
    assert (scaled[hot] == 510).all()


def test_scaling_ignores_units():
    image = np.random.default_rng(0).random((1, 30, 30))
    a = Scaling.of_image(image).apply(image)
    b = Scaling.of_image(image * 1e-7 + 5).apply(image * 1e-7 + 5)
    assert np.allclose(a, b, atol=1e-2)  # a small difference on a large base
    c = Scaling.of_image(image * 1000).apply(image * 1000)
    assert np.allclose(a, c, atol=1e-2)


def test_principal_components_are_those_of_numpy():
    rng = np.random.default_rng(0)
    sources = rng.normal(0, [[40], [20], [5]], (3, 5000))
    pixels = (rng.normal(0, 1, (6, 3)) @ sources + 100).astype(np.float32)
    mixing, offset = principal_mixing([pixels[:, :2000], pixels[:, 2000:]])
    mixed = mixing @ pixels + offset[:, None]
    assert np.allclose(mixed.mean(1), 127, atol=0.1)
    assert np.allclose(np.corrcoef(mixed), np.eye(3), atol=1e-3)
    assert np.allclose(mixed[:2].std(1), 64, rtol=0.01)
    assert (mixing.sum(1) >= 0).all()


def test_another_number_of_channels_is_named():
    check_channels(3, 3, "a")
    with pytest.raises(ImageError, match=r"'a'.*expected 3, got 1"):
        check_channels(3, 1, "a")


def test_pixels_without_data_leave_the_range_alone_and_become_neutral():
    image = np.random.default_rng(0).random((3, 40, 50))
    gaps = image.copy()
    gaps[:2, :10] = np.nan
    gaps[2] = np.nan
    scaling, known = Scaling.of_image(gaps), Scaling.of_image(image[:, 10:])
    assert np.allclose(scaling.low[:2], known.low[:2], atol=1e-3)
    assert np.allclose(scaling.high[:2], known.high[:2], atol=1e-3)
    scaled = scaling.apply(gaps)
    assert (scaled[:2, :10] == NEUTRAL).all()
    assert (scaled[2] == NEUTRAL).all()
    assert np.array_equal(scaled[:2, 10:], scaling.apply(image)[:2, 10:])


def test_no_data_means_in_no_channel():
    image = np.zeros((2, 3, 4), np.float32)
    assert no_data(image) is None
    image[0, 1, 1:] = image[1, 1, 2:] = np.nan
    assert np.argwhere(no_data(image)).tolist() == [[1, 2], [1, 3]]
    assert no_data(np.zeros((2, 3, 4), np.uint8)) is None
