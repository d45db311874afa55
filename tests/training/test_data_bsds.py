"""BSDS500's layout, on a tiny set made here, and on the real one where it is at hand."""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import pytest
from scipy.io import savemat

from training.data.bsds import BSDS500, SPLITS
from training.data.saliency import DataSetError, data_folder


@pytest.fixture
def tiny(tmp_path):
    """Two images; the second annotator of each has more segments than the first."""
    (tmp_path / "images" / "val").mkdir(parents=True)
    (tmp_path / "groundTruth" / "val").mkdir(parents=True)
    for name in ("12", "7"):
        image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
        iio.imwrite(tmp_path / "images" / "val" / f"{name}.jpg", image)
        coarse = np.ones((20, 30), np.uint16)
        coarse[:, 15:], coarse[0, 0] = 2, 3
        fine = np.arange(600).reshape(20, 30) // 60 + 1
        cells = np.empty((1, 2), object)
        for i, labels in enumerate((fine, coarse)):
            edges = np.zeros((20, 30), np.uint8)
            edges[:, 15] = 1
            cells[0, i] = {"Segmentation": labels.astype(np.uint16), "Boundaries": edges}
        savemat(tmp_path / "groundTruth" / "val" / f"{name}.mat", {"groundTruth": cells})
    return tmp_path


def test_images_and_all_annotators_are_read(tiny):
    data = BSDS500("val", tiny, check_count=False)
    assert data.names == ("12", "7")
    found = next(iter(data))
    assert found.image.shape == (20, 30, 3)
    assert [len(np.unique(s)) for s in found.segmentations] == [10, 3]
    assert found.boundaries[1].sum() == 20
    assert found.boundaries[1].dtype == bool


def test_the_coarsest_is_that_with_fewest_segments_without_its_small_ones(tiny):
    coarse = BSDS500("val", tiny, check_count=False).read("12").coarsest()
    assert coarse[0, 0] == 0
    assert np.unique(coarse).tolist() == [0, 1, 2]
    everything = BSDS500("val", tiny, check_count=False).read("12").coarsest(smallest=0)
    assert np.unique(everything).tolist() == [1, 2, 3]


def test_a_missing_or_incomplete_set_says_where_to_put_it(tiny, tmp_path):
    with pytest.raises(DataSetError, match=r"100 images in .*got 2.*NAPARI_CAS_DATA"):
        BSDS500("val", tiny)
    with pytest.raises(DataSetError, match="got 0"):
        BSDS500("test", tmp_path)
    with pytest.raises(DataSetError, match="train or val or test"):
        BSDS500("validation", tiny)


def test_a_damaged_file_is_named(tiny):
    (tiny / "groundTruth" / "val" / "7.mat").write_bytes(b"nothing")
    with pytest.raises(DataSetError, match=r"7\.mat or its image is damaged"):
        BSDS500("val", tiny, check_count=False).read("7")


def test_a_file_that_does_not_unpack_is_named(tiny):
    cells = np.empty((1, 1), object)
    noise = np.random.default_rng(0).integers(0, 9, (20, 30)).astype(np.uint16)
    cells[0, 0] = {"Segmentation": noise, "Boundaries": noise}
    file = tiny / "groundTruth" / "val" / "7.mat"
    savemat(file, {"groundTruth": cells}, do_compression=True)
    hurt = bytearray(file.read_bytes())
    hurt[200:220] = bytes(20)
    file.write_bytes(hurt)
    with pytest.raises(DataSetError, match=r"7\.mat or its image is damaged.*decompressing"):
        BSDS500("val", tiny, check_count=False).read("7")


def test_annotations_of_another_image_are_refused(tiny):
    iio.imwrite(tiny / "images" / "val" / "7.jpg", np.zeros((30, 20, 3), np.uint8))
    with pytest.raises(
        DataSetError, match=r"7\.mat is not of its image.*\(30, 20\), got \(20, 30\)"
    ):
        BSDS500("val", tiny, check_count=False).read("7")


@pytest.mark.skipif(not (data_folder() / "bsds500").is_dir(), reason="BSDS500 is not at hand")
@pytest.mark.parametrize("split", SPLITS)
def test_the_real_set_is_complete(split):
    data = BSDS500(split)
    found = data.read(data.names[0])
    assert sorted(found.image.shape) == [3, 321, 481]
    assert all(s.shape == found.image.shape[:2] and s.min() == 1 for s in found.segmentations)
    assert 4 <= len(found.segmentations) <= 9
