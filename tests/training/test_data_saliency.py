"""Published layouts are recognised, counted, decoded once; what is missing says where to get it."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_cas.errors import ImageError
from training.data.saliency import SETS, DataSetError, open_set, plain_set
from training.regions import rwtd_examples
from training.saliency.recipe import small_recipe
from training.saliency.runs import Place

LAYOUTS = {
    "DUTS-TR": ("DUTS-TR", "DUTS-TR-Image/i{}.jpg", "DUTS-TR-Mask/i{}.png"),
    "DUTS-TE": ("DUTS-TE", "DUTS-TE-Image/i{}.jpg", "DUTS-TE-Mask/i{}.png"),
    "ECSSD": ("ECSSD", "images/000{}.jpg", "ground_truth_mask/000{}.png"),
    "MSRA-B": ("MSRA-B", "0_0_{}.jpg", "0_0_{}.png"),
    "MSRA10K": ("MSRA10K_Imgs_GT", "Imgs/{}.jpg", "Imgs/{}.png"),
    "PASCAL-S": ("salObj", "datasets/imgs/pascal/{}.jpg", "datasets/masks/pascal/{}.png"),
    "HKU-IS": ("HKU-IS", "imgs/000{}.png", "gt/000{}.png"),
    "THUR15K": ("THUR15000", "Butterfly/Src/{}.jpg", "Butterfly/Src/{}.png"),
    "DUT-OMRON": (
        "DUT-OMRON",
        "DUT-OMRON-image/DUT-OMRON-image/sun_{}.jpg",
        "DUT-OMRON-gt-pixelwise.zip/pixelwiseGT-new-PNG/sun_{}.png",
    ),
    "SOD": ("SOD", "Imgs/{}.jpg", "Imgs/{}.png"),
}


def test_every_set_has_a_layout_under_test():
    assert LAYOUTS.keys() == SETS.keys()


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("zipped", [False, True])
def test_published_layout(name, zipped, tiny_set, tmp_path):
    root, images, masks = LAYOUTS[name]
    data = tiny_set(root, images, masks, count=3)
    if zipped:
        shutil.make_archive(str(data / root), "zip", data / root)
        shutil.rmtree(data / root)
    found = open_set(name, data=data, size=32, cache=tmp_path / "cache", check_count=False)
    assert found.images.shape == (3, 32, 32, 3)
    assert found.images.dtype == np.uint8
    # The square is the bright part: image and mask belong together.
    for i in range(3):
        salient = found.salient()[i]
        assert 0.05 < salient.mean() < 0.3
        assert found.images[i][salient].mean() > found.images[i][~salient].mean() + 30


def test_plain_folders_and_two_zips_of_one_set(tiny_set, tmp_path):
    data = tiny_set("duts_tr_256_a", "images/a{}.png", "masks/a{}.png", count=2)
    tiny_set("duts_tr_256_b", "images/b{}.png", "masks/b{}.png", count=2)
    shutil.make_archive(str(data / "duts_tr_256_b"), "zip", data / "duts_tr_256_b")
    shutil.rmtree(data / "duts_tr_256_b")
    found = open_set("DUTS-TR", data=data, size=16, cache=tmp_path, check_count=False)
    assert found.names == ("a0", "a1", "b0", "b1")


@pytest.mark.parametrize("form", ["folder", "zip", "zip of a folder"])
def test_anybody_s_own_pictures(form, tiny_set, tmp_path):
    at = tiny_set("mine", "images/{}.jpg", "masks/{}.png", count=3) / "mine"
    if form != "folder":
        whole = at if form == "zip" else at.parent
        at = Path(shutil.make_archive(str(tmp_path / "boxed"), "zip", whole))
    mine = plain_set(at)
    assert mine.count == 3
    assert mine.name.startswith(f"{at.stem}-")
    found = open_set(mine, size=32, cache=tmp_path / "cache", data=tmp_path / "elsewhere")
    assert found.names == ("0", "1", "2")
    assert all(0.05 < found.salient()[i].mean() < 0.3 for i in range(3))


def test_own_pictures_without_a_partner_are_refused_not_left_out(tiny_set, tmp_path):
    at = tiny_set("mine", "images/{}.jpg", "masks/{}.png", count=5) / "mine"
    for number in range(4):
        (at / f"masks/{number}.png").unlink()
    with pytest.raises(DataSetError, match=r"pairs: 1, .*: 4, .*images/0\.jpg.*and more\. Add"):
        plain_set(at)
    (at / "masks/4.png").rename(at / "masks/5.png")
    with pytest.raises(DataSetError, match="pairs: 0, pictures without a partner: 6"):
        plain_set(at)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataSetError, match=r"holding images/\*.*got pairs: 0"):
        plain_set(tmp_path / "empty")
    with pytest.raises(DataSetError, match=r"no such data set.*ECSSD"):
        plain_set(tmp_path / "absent.zip")


def test_images_without_a_mask_are_left_out(tiny_set, tmp_path):
    data = tiny_set("THUR15000", "Plane/Src/{}.jpg", "Plane/Src/{}.png", count=4)
    (data / "THUR15000/Plane/Src/2.png").unlink()
    found = open_set("THUR15K", data=data, size=16, cache=tmp_path / "cache", check_count=False)
    assert found.names == ("0", "1", "3")


def test_a_missing_set_says_where_to_get_it_and_where_to_put_it(tmp_path):
    with pytest.raises(DataSetError, match=r"mmcheng\.net/gsal.*NAPARI_CAS_DATA") as raised:
        open_set("THUR15K", data=tmp_path)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_set_is_counted_and_a_part_may_be_used_on_purpose(name, tiny_set, tmp_path):
    data = tiny_set(*LAYOUTS[name], count=2)
    expected = f"{name} is not complete: expected {SETS[name].count} images with masks, got 2 in"
    with pytest.raises(DataSetError, match=expected) as raised:
        open_set(name, data=data, cache=tmp_path / "cache")
    assert "--train PART" in str(raised.value)
    assert SETS[name].source in str(raised.value)


def test_the_texture_set_is_counted(tiny_set, tmp_path):
    data = tiny_set("rwtd", "images/{}.jpg", "masks/{}.png", count=2)
    with pytest.raises(DataSetError, match="expected 256 images with masks, got 2"):
        rwtd_examples(small_recipe(), Place(data=data, cache=tmp_path / "cache"))


def test_a_damaged_zip_and_a_damaged_picture_are_named(tiny_set, tmp_path):
    data = tiny_set("ECSSD", "images/{}.jpg", "ground_truth_mask/{}.png", count=2)
    (data / "ECSSD/images/1.jpg").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"1\.jpg"):
        open_set("ECSSD", data=data, cache=tmp_path / "cache", check_count=False)
    assert not list((tmp_path / "cache").iterdir())  # nothing half-made stays behind
    (data / "sod.zip").write_bytes(b"PK not a zip")
    with pytest.raises(DataSetError, match="damaged"):
        open_set("SOD", data=data, cache=tmp_path / "cache")


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_one_wrong_byte_of_a_zip_is_noticed(tmp_path, packing):
    """By its checksum where the picture decodes all the same; by whatever error it is else."""
    picture = io.BytesIO()
    Image.effect_noise((40, 30), 60).save(picture, "BMP")
    with zipfile.ZipFile(tmp_path / "own.zip", "w", packing) as archive:
        for folder in ("images", "masks"):
            archive.writestr(f"{folder}/1.bmp", picture.getvalue())
    whole = (tmp_path / "own.zip").read_bytes()
    for place in range(400, 800, 10):
        hurt = bytearray(whole)
        hurt[place] ^= 0xFF
        (tmp_path / "own.zip").write_bytes(hurt)
        with pytest.raises(ImageError, match=r"own\.zip images/1\.bmp"):
            open_set(plain_set(tmp_path / "own.zip"), size=16, cache=tmp_path / "cache")


def test_a_broken_png_is_named_whatever_its_reader_raises(tiny_set, tmp_path):
    data = tiny_set("ECSSD", "images/{}.jpg", "ground_truth_mask/{}.png", count=2)
    mask = data / "ECSSD/ground_truth_mask/1.png"
    hurt = bytearray(mask.read_bytes())
    hurt[hurt.index(b"IDAT") - 1] = 2  # its length: PIL raises a SyntaxError
    mask.write_bytes(hurt)
    with pytest.raises(ImageError, match=r"1\.png"):
        open_set("ECSSD", data=data, cache=tmp_path / "cache", check_count=False)


def test_a_mask_that_does_not_lie_on_its_image_is_told(tiny_set, tmp_path):
    data = tiny_set("ECSSD", "images/{}.jpg", "ground_truth_mask/{}.png", count=3)
    Image.new("L", (7, 9)).save(data / "ECSSD/ground_truth_mask/1.png")
    with pytest.warns(UserWarning, match=r"ECSSD: the masks of 1 of 3 .*: 1 \(\d+×\d+, mask 7×9\)"):
        open_set("ECSSD", data=data, size=16, cache=tmp_path / "cache", check_count=False)


def test_decoding_happens_once(tiny_set, tmp_path):
    data = tiny_set("ECSSD", "images/{}.jpg", "ground_truth_mask/{}.png", count=3)
    cache = tmp_path / "cache"
    first = open_set("ECSSD", data=data, size=16, cache=cache, check_count=False)
    (made,) = cache.iterdir()
    before = (made / "images.npy").stat().st_mtime_ns
    again = open_set("ECSSD", data=data, size=16, cache=cache, check_count=False)
    assert (made / "images.npy").stat().st_mtime_ns == before
    assert again.digest == first.digest
    part = open_set("ECSSD", data=data, size=16, cache=cache, check_count=False, take=[2, 0])
    assert part.names == ("2", "0")
    assert part.digest != first.digest
    assert np.array_equal(part.images[1], first.images[0])


def test_the_sets_at_hand_are_complete(shared_data, tmp_path):
    found = open_set("ECSSD", data=shared_data, take=range(5), cache=tmp_path)
    assert found.images.shape == (5, 256, 256, 3)
