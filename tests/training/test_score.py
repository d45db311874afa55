"""Scoring folders of anybody's maps."""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from training.__main__ import main
from training.data.saliency import DataSetError, data_folder
from training.score import pair, score_regions, score_saliency

DSS = data_folder() / "sod_maps"


@pytest.fixture
def folders(tmp_path):
    """Three masks, and maps that are right but for a constant factor."""
    maps, masks = tmp_path / "maps", tmp_path / "masks"
    maps.mkdir(), masks.mkdir()
    for i in range(3):
        mask = np.zeros((40, 50), np.uint8)
        mask[5 + i : 25, 10:30] = 1
        iio.imwrite(masks / f"{i}.png", mask * 255)
        iio.imwrite(maps / f"{i}.png", mask * 200)
    return maps, masks


def test_perfect_maps_score_perfectly_once_stretched(folders):
    scores = score_saliency(pair(*folders))
    assert scores["images"] == 3
    for key in ("max_f", "max_mean_f", "adaptive_f", "weighted_f", "s"):
        assert scores[key] == pytest.approx(1.0)
    assert scores["mae"] == 0.0
    unstretched = score_saliency(pair(*folders), stretch=False)
    assert 0 < unstretched["mae"] < 0.1


def test_masks_may_be_written_as_zero_and_one_or_one_bit(folders):
    maps, masks = folders
    for path in masks.iterdir():
        mask = iio.imread(path) > 0
        Image.fromarray(mask).save(path)
    assert score_saliency(pair(maps, masks))["max_f"] == pytest.approx(1.0)
    for path in masks.iterdir():
        iio.imwrite(path, (iio.imread(path) > 0).astype(np.uint8))
    assert score_saliency(pair(maps, masks))["max_f"] == pytest.approx(1.0)


def test_maps_of_another_size_are_resized_and_counted(folders):
    maps, masks = folders
    iio.imwrite(maps / "0.png", iio.imread(maps / "0.png").repeat(2, 0).repeat(2, 1))
    scores = score_saliency(pair(maps, masks))
    assert scores["resized"] == 1
    assert scores["max_f"] > 0.98


def test_label_pictures_are_scored_whatever_their_names(folders, tmp_path):
    _, masks = folders
    labels = tmp_path / "labels"
    labels.mkdir()
    for path in masks.iterdir():
        np.save(labels / f"{path.stem}.npy", np.where(iio.imread(path) > 0, 7, 12))
    scores = score_regions(pair(labels, masks))
    for key in ("covering", "probabilistic_rand_index", "adjusted_rand_index", "boundary_f"):
        assert scores[key] == pytest.approx(1.0)
    assert scores["variation_of_information"] == 0.0


def test_of_a_palette_the_numbers_are_the_labels(tmp_path):
    """As of PASCAL VOC; two of these three numbers are shown in one colour."""
    labels = np.repeat(np.arange(3, dtype=np.uint8), 20)[:, None].repeat(50, 1)
    for folder, colours in (("maps", [200, 0, 0, 90, 9, 9, 90, 9, 9]), ("masks", [0, 128, 0] * 3)):
        (tmp_path / folder).mkdir()
        picture = Image.fromarray(labels)
        picture.putpalette(colours)
        picture.save(tmp_path / folder / "a.png")
    assert score_regions(pair(tmp_path / "maps", tmp_path / "masks"))["covering"] == 1.0


def test_grey_with_opacity_is_grey(folders):
    maps, masks = folders
    with Image.open(maps / "0.png") as grey:
        grey.convert("LA").save(maps / "0.png")
    assert score_saliency(pair(maps, masks))["max_f"] == pytest.approx(1.0)


@pytest.mark.parametrize("content", ["text", {"other": 1}, {"groundTruth": np.ones((1, 2))}])
def test_a_mat_file_of_another_kind_is_named(tmp_path, content):
    for folder in ("maps", "masks"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "maps" / "7.npy", np.ones((9, 9), int))
    file = tmp_path / "masks" / "7.mat"
    file.write_text(content) if isinstance(content, str) else savemat(file, content)
    with pytest.raises(DataSetError, match=r"7\.mat cannot be read.*groundTruth"):
        score_regions(pair(tmp_path / "maps", tmp_path / "masks"))


def test_all_annotators_of_a_mat_file_count(tmp_path):
    maps, masks = tmp_path / "maps", tmp_path / "masks"
    maps.mkdir(), masks.mkdir()
    halves, quarters = np.ones((40, 40), np.uint16), np.ones((40, 40), np.uint16)
    halves[:, 20:], quarters[:, 20:] = 2, 2
    quarters[20:] += 2
    cells = np.empty((1, 2), object)
    for i, labels in enumerate((halves, quarters)):
        cells[0, i] = {"Segmentation": labels, "Boundaries": np.zeros((40, 40), np.uint8)}
    savemat(masks / "7.mat", {"groundTruth": cells})
    np.save(maps / "7.npy", halves)
    scores = score_regions(pair(maps, masks))
    assert scores["covering"] == pytest.approx((1 + 0.5) / 2)
    assert scores["variation_of_information"] == pytest.approx(0.5)
    assert scores["boundary_precision"] == 1.0


def test_missing_maps_are_an_error_unless_allowed(folders, capsys):
    maps, masks = folders
    (maps / "1.png").unlink()
    assert main(["score", str(maps), str(masks)]) == 2
    assert "no map for 1" in capsys.readouterr().err
    assert main(["score", "--allow-missing", "--json", str(maps), str(masks)]) == 0


def test_of_two_maps_with_one_name_none_is_taken(folders):
    maps, masks = folders
    iio.imwrite(maps / "1.jpg", iio.imread(maps / "1.png"))
    with pytest.raises(DataSetError, match=r"Two maps are called 1 .*1\.jpg and 1\.png"):
        pair(maps, masks)
    (maps / "1.jpg").rename(masks / "1.jpg")
    assert pair(maps, masks)[1] == (maps / "1.png", masks / "1.png")


def test_unusable_files_are_named(folders):
    maps, masks = folders
    iio.imwrite(maps / "0.png", np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    with pytest.raises(DataSetError, match=r"0\.png is coloured"):
        score_saliency(pair(maps, masks))
    (maps / "0.png").write_bytes(b"nothing")
    with pytest.raises(DataSetError, match=r"0\.png cannot be read"):
        score_saliency(pair(maps, masks))
    (maps / "0.png").unlink()
    np.save(maps / "0.npy", np.full((40, 50), 200.0))
    with pytest.raises(DataSetError, match=r"0\.npy cannot be scored.*200"):
        score_saliency(pair(maps, masks))
    with pytest.raises(DataSetError, match="No folder"):
        pair(maps / "none", masks)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read"),
        (np.zeros((0, 5)), r"not a picture.*\(0, 5\)"),
        (np.zeros((40, 50), complex), "cannot be scored.*grey values, got complex128"),
    ],
)
def test_files_that_are_no_maps_are_named(folders, content, says):
    maps, masks = folders
    (maps / "0.png").unlink()
    if isinstance(content, bytes):
        (maps / "0.npy").write_bytes(content)
    else:
        np.save(maps / "0.npy", content)
    with pytest.raises(DataSetError, match=rf"0\.npy.*{says}"):
        score_saliency(pair(maps, masks))


def test_labels_that_are_no_integers_are_named(folders):
    maps, masks = folders
    (maps / "0.png").unlink()
    np.save(maps / "0.npy", np.ones((40, 50)))
    with pytest.raises(DataSetError, match=r"0\.npy cannot be scored.*integers, got float64"):
        score_regions(pair(maps, masks))


def test_a_folder_without_masks_is_told(folders, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(DataSetError, match="No masks in"):
        pair(folders[0], tmp_path / "none")


@pytest.mark.slow
@pytest.mark.skipif(not DSS.is_dir(), reason="DSS's published maps on SOD are not at hand")
def test_dss_on_sod_scores_what_its_authors_published():
    scores = score_saliency(pair(DSS / "DSS", DSS / "masks"))
    assert scores["images"] == 300
    # published to two or three digits: max F 0.84, MAE 0.12
    assert scores["max_f"] == pytest.approx(0.84, abs=0.005)
    assert scores["mae"] == pytest.approx(0.12, abs=0.005)
