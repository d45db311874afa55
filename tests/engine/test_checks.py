import numpy as np
import pytest

from napari_cas.engine.checks import as_image, as_regions, refuse_constant
from napari_cas.errors import ImageError, RegionError

GOOD = np.arange(48.0).reshape(6, 8)


def test_axes_and_types():
    assert as_image(GOOD, "i").shape == (1, 6, 8)
    assert as_image(np.stack([GOOD] * 3, -1), "i").shape == (3, 6, 8)
    assert as_image(GOOD > 5, "i").dtype == np.uint8
    assert as_image(GOOD.tolist(), "i").dtype == np.float64
    assert as_image(GOOD.astype(np.float16), "i").shape == (1, 6, 8)


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (np.zeros(5), r"wrong shape: expected \(Y, X\)"),
        (np.zeros((0, 4)), "wrong shape"),
        (np.zeros((2, 3, 4, 5)), "wrong shape"),
        (np.random.default_rng(0).random((3, 60, 600)), "too many channels.*Move the channel"),
        (GOOD.astype(complex), "wrong dtype"),
        (np.array([["a", "b"]]), "wrong dtype"),
        (np.where(GOOD < 3, np.inf, GOOD), "not finite.*got 3 that"),
        (GOOD * np.nan, "no data.*NaN everywhere"),
    ],
)
def test_images_that_cannot_be_used(image, match):
    with pytest.raises(ImageError, match=match):
        as_image(image, "images[0]")


def test_constant_images_can_be_used_but_not_learnt_from():
    for image, words in (
        (np.where(GOOD < 3, np.nan, 7), "constant.*7.0 everywhere"),
        (np.full((4, 4), 7), "constant.*7 everywhere"),
        (np.full((4, 4, 3), (255, 0, 9), np.uint8), "constant.*got 255, 0, 9 everywhere"),
        (np.full((4, 4, 3), (7, np.nan, 7)), "constant.*got 7.0 everywhere"),
    ):
        used = as_image(image, "images[0]")
        with pytest.raises(ImageError, match=words):
            refuse_constant(used, "images[0]")
    refuse_constant(as_image(GOOD, "images[0]"), "images[0]")


@pytest.mark.parametrize(
    ("regions", "match"),
    [
        (np.zeros((8, 6), int), r"expected shape \(6, 8\), got \(8, 6\)"),
        (GOOD, "wrong dtype: expected integers, got float64"),
        (np.full((6, 8), -1), "negative ids.*-1"),
        (np.full((6, 8), 2**63, np.uint64), "too large.*9223372036854775808"),
        (np.full((6, 8), 2**40), "too large.*below 2⁴⁰"),
    ],
)
def test_regions_that_cannot_be_used(regions, match):
    with pytest.raises(RegionError, match=match):
        as_regions(regions, (6, 8), "regions[0]")


def test_masks_are_regions():
    assert as_regions(GOOD > 5, (6, 8), "r").max() == 1
    assert as_regions(np.ones((6, 8), np.uint64), (6, 8), "r").max() == 1
