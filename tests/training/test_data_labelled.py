"""Readers of labelled sets, on tiny sets in their layouts and on the real ones where at hand."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from PIL import Image

from training.data.labelled import KINDS, LabelledSet, voc_split
from training.data.mosaics import KINDS as KINDS_OF_TEXTURE
from training.data.mosaics import Mosaics, _halves
from training.data.saliency import DataSetError, data_folder


def write(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(array, np.uint8))
    if mode == "P":
        picture.putpalette([value for i in range(256) for value in (i, 255 - i, 7)])
    picture.save(path)


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 255, (6, 8, 3))


def test_classes_are_numbered_from_one(tmp_path, colour):
    mask = np.zeros((6, 8))
    mask[2:4], mask[4:] = 1, 2
    write(tmp_path / "wbc" / "images" / "a.png", colour)
    write(tmp_path / "wbc" / "masks" / "a.png", mask)
    found = LabelledSet("wbc", tmp_path, check_count=False)
    item = found.read("a")
    assert np.array_equal(item.truth, mask + 1)
    assert np.array_equal(item.image, colour)
    assert found.classes == ("background", "cytoplasm", "nucleus")


def test_nuclei_of_all_numbers_are_one_class_and_parts_follow_the_index(tmp_path, colour):
    for name, kind in (("a", "fluo"), ("b", "color")):
        write(tmp_path / "dsb2018" / "images" / f"{name}.png", colour)
        instances = np.arange(48).reshape(6, 8).astype(np.uint16) * 300
        path = tmp_path / "dsb2018" / "labels" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(instances).save(path)
        with (tmp_path / "dsb2018" / "index.csv").open("a") as index:
            index.write(("id,kind\n" if name == "a" else "") + f"{name},{kind}\n")
    assert LabelledSet("dsb2018", tmp_path, check_count=False).names == ("a", "b")
    part = LabelledSet("dsb2018:color", tmp_path, check_count=False)
    assert part.names == ("b",)
    assert np.bincount(part.read("b").truth.ravel()).tolist() == [0, 1, 47]
    with pytest.raises(DataSetError, match="color or fluo"):
        LabelledSet("dsb2018:pink", tmp_path, check_count=False)


@pytest.mark.parametrize("dtype", [">u2", np.uint16, np.int32, np.float32])
def test_deep_pictures_are_stretched_to_eight_bits(tmp_path, dtype):
    deep = (np.arange(10_000).reshape(100, 100) % 3000).astype(dtype)
    mask = (deep > 1000).astype(np.uint8)
    write(tmp_path / "own" / "masks" / "a.tif", mask)
    (tmp_path / "own" / "images").mkdir()
    if dtype == ">u2":
        picture = Image.frombytes("I;16B", deep.shape, deep.tobytes())
    else:
        picture = Image.fromarray(deep)
    picture.save(tmp_path / "own" / "images" / "a.tif")
    image = LabelledSet(str(tmp_path / "own")).read("a").image
    assert image.dtype == np.uint8
    assert image.shape == deep.shape
    assert image[0, 0] == 0
    assert image[29, 99] == 255
    # Brighter stays brighter: nothing wraps around.
    assert (np.diff(image.ravel()[:3000].astype(int)) >= 0).all()


@pytest.mark.parametrize("zipped", [False, True])
def test_voc_s_splits_are_those_of_its_lists_as_far_as_at_hand(tmp_path, colour, zipped):
    if zipped:
        (tmp_path / "loose").mkdir()
        with zipfile.ZipFile(tmp_path / "voc2012_part.zip", "w") as archive:
            for name in ("a", "b"):
                write(tmp_path / "loose" / "one.png", colour)
                archive.write(tmp_path / "loose" / "one.png", f"images/{name}.png")
                archive.write(tmp_path / "loose" / "one.png", f"masks/{name}.png")
            archive.writestr("val.txt", "b\nabsent\n")
    else:
        root = tmp_path / "VOCdevkit" / "VOC2012"
        for name in ("a", "b"):
            write(root / "JPEGImages" / f"{name}.jpg", colour)
            write(root / "SegmentationClass" / f"{name}.png", np.zeros((6, 8)), "P")
        lists = root / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        (lists / "val.txt").write_text("b\nabsent\n")
    assert voc_split("val", tmp_path) == ("b",)
    with pytest.raises(DataSetError, match="train split was not found"):
        voc_split("train", tmp_path)


def test_voc_is_read_in_its_own_layout_with_palette_masks_and_void(tmp_path, colour):
    mask = np.zeros((6, 8))
    mask[3:], mask[:, 4] = 15, 255
    root = tmp_path / "VOCdevkit" / "VOC2012"
    root_images = root / "JPEGImages"
    write(root_images / "2007_000032.jpg", colour)
    write(root_images / "2007_999999.jpg", colour)  # without a mask
    write(root / "SegmentationClass" / "2007_000032.png", mask, mode="P")
    found = LabelledSet("voc2012", tmp_path)
    assert found.names == ("2007_000032",)
    truth = found.read("2007_000032").truth
    assert np.unique(truth).tolist() == [0, 1, 16]
    assert (truth[:, 4] == 0).all()
    assert found.classes[15] == "person"


def test_a_zip_is_as_good_as_a_folder(tmp_path, colour):
    write(tmp_path / "images" / "1.png", colour)
    write(tmp_path / "masks" / "1.png", np.eye(6, 8) * 255)
    with zipfile.ZipFile(tmp_path / "rwtd.zip", "w") as archive:
        for part in ("images", "masks"):
            archive.write(tmp_path / part / "1.png", f"{part}/1.png")
    found = LabelledSet("rwtd", tmp_path, check_count=False)
    assert np.array_equal(found.read("1").truth, np.eye(6, 8) + 1)
    assert not found.kind.class_names_agree


def test_missing_incomplete_and_damaged_sets_say_what_to_do(tmp_path, colour):
    with pytest.raises(DataSetError, match=r"wbc was not found.*NAPARI_CAS_DATA"):
        LabelledSet("wbc", tmp_path)
    write(tmp_path / "wbc" / "images" / "a.png", colour)
    write(tmp_path / "wbc" / "masks" / "a.png", np.zeros((5, 8)))
    with pytest.raises(DataSetError, match="expected 300 images with masks, got 1"):
        LabelledSet("wbc", tmp_path)
    with pytest.raises(DataSetError, match=r"Get it again: Zheng.*part on purpose"):
        LabelledSet("wbc", tmp_path)
    found = LabelledSet("wbc", tmp_path, check_count=False)
    with pytest.raises(DataSetError, match="differ in size"):
        found.read("a")
    (tmp_path / "wbc" / "masks" / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataSetError, match=r"a\.png"):
        found.read("a")
    with pytest.raises(DataSetError, match="Unknown set"):
        LabelledSet("nothing", tmp_path)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "voc2012"])
def test_every_set_is_counted(name, tmp_path, colour):
    for part in ("images", "masks", "labels"):
        write(tmp_path / name / part / "a.png", colour if part == "images" else np.zeros((6, 8)))
    count = KINDS[name].published.count
    with pytest.raises(DataSetError, match=f"expected {count} images with masks, got 1 in"):
        LabelledSet(name, tmp_path)


@pytest.mark.parametrize("name", KINDS)
def test_the_real_sets(name):
    if not any(data_folder().glob(KINDS[name].published.roots[-1])):
        pytest.skip(f"{name} is not at hand")
    found = LabelledSet(name)
    item = found.read(found.names[0])
    assert item.image.dtype == item.truth.dtype == np.uint8
    assert item.truth.max() <= len(found.classes)


def test_mosaics_are_seeded_balanced_and_split_by_halves():
    train, test = Mosaics(3, 96), Mosaics(3, 96, test=True)
    first = train.read("train-000")
    assert np.array_equal(first.image, train.read("train-000").image)
    assert not np.array_equal(first.image, test.read("test-000").image)
    for item in [*train, *test]:
        counts = np.bincount(item.truth.ravel(), minlength=4)
        assert counts[0] == 0
        assert (counts[1:] > 0.03 * item.truth.size).all()
        means = [item.image[item.truth == k].mean() for k in (1, 2, 3)]
        assert max(means) - min(means) < 60  # brightness does not give textures away


def test_mosaics_of_more_kinds_show_four_of_them_each():
    items = list(Mosaics(12, kinds=12))
    shown = [np.unique(item.truth) for item in items]
    assert {len(kinds) for kinds in shown} == {4}
    assert set(np.concatenate(shown)) == set(range(1, 13))
    assert items[0].image.shape == (128, 128)
    looks = _halves(test=False)
    assert len(looks) == len(KINDS_OF_TEXTURE)
    assert all(min(look.shape) >= 128 for look in looks)
    assert np.array_equal(looks[9], 255 - looks[0])


@pytest.mark.parametrize("kinds", [2, 13])
def test_there_are_not_mosaics_of_any_number_of_kinds(kinds):
    with pytest.raises(DataSetError, match=f"3 to 12, got {kinds}"):
        Mosaics(1, kinds=kinds)


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 255), (3, 7, 255)])
def test_anybodys_folder_is_a_set(tmp_path, colour, values):
    mask = np.zeros((6, 8)) + values[0]
    mask[2:4], mask[4:] = values[1], values[-1]
    write(tmp_path / "images" / "a.png", colour)
    write(tmp_path / "masks" / "a.png", mask)
    found = LabelledSet(str(tmp_path))
    void = 255 in values and len(values) > 2
    assert found.classes == tuple(str(v) for v in values if not (void and v == 255))
    expected = np.searchsorted(values, mask) + 1
    expected[(mask == 255) & void] = 0
    np.testing.assert_array_equal(found.read("a").truth, expected)


@pytest.mark.parametrize("mask", [np.zeros((6, 8)), np.arange(240).reshape(24, 10)])
def test_masks_without_classes_are_refused(tmp_path, colour, mask):
    write(tmp_path / "images" / "a.png", colour)
    write(tmp_path / "masks" / "a.png", mask)
    with pytest.raises(DataSetError, match=r"show no classes.*2 to 64 different numbers"):
        LabelledSet(str(tmp_path))


def test_a_saliency_set_has_two_classes(tmp_path, colour):
    mask = np.zeros((6, 8))
    mask[2:] = 200
    write(tmp_path / "ECSSD" / "images" / "a.png", colour)
    write(tmp_path / "ECSSD" / "masks" / "a.png", mask)
    found = LabelledSet("ECSSD", tmp_path, check_count=False)
    np.testing.assert_array_equal(found.read("a").truth, (mask > 0) + 1)
    assert found.classes == ("background", "salient object")
    with pytest.raises(DataSetError, match="ECSSD is not complete"):
        LabelledSet("ECSSD", tmp_path)
