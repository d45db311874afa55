"""Table 5: channels read as classes, and the command on a made set."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
from PIL import Image

import training.table_regions as table_regions
from training.__main__ import main
from training.table_voc import CLASSES, _mean_iou, _scores


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(CLASSES, dtype=np.float32)[labels].transpose(2, 0, 1)


def test_right_classes_score_fully_and_void_does_not_count():
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 5, (40, 40)).astype(np.uint8)
    channel = truth.astype(np.intp) - 1
    scores = one_hot(channel)
    truth[::3] = 0
    scores[:, ::3] = one_hot(rng.integers(0, CLASSES, (14, 40)))
    found = _scores(iter([(channel, scores, truth)]))
    assert found["precision"] == found["iou"] == found["covering"] == found["rand"] == 1.0
    assert found["variation"] == 0.0


def test_a_wrong_class_costs_its_precision_but_not_the_partition():
    truth = np.ones((40, 40), np.uint8)
    truth[:, 20:] = 2
    channel = np.where(truth == 1, 7, 3)
    found = _scores(iter([(channel, one_hot(np.where(truth == 1, 1, 0)), truth)]))
    assert found["covering"] == 1.0
    assert found["iou"] == 0.0
    assert found["precision"] == pytest.approx(0.5)  # all true pixels rank last: half are true


def test_background_counts_in_the_mean_iou_but_is_no_object_of_the_precision():
    truth = np.ones((40, 40), np.uint8)
    truth[:, 20:30], truth[:, 30:] = 2, 3
    said = np.where(truth == 1, 0, 1)  # background is found; both objects are called the first
    scores = one_hot(said)
    found = _scores(iter([(said, scores, truth)]))
    assert found["precision"] == pytest.approx((0.5 + 0.25) / 2)  # without the 1 of background
    assert found["iou"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_mean_iou_by_hand():
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    assert _mean_iou(confusion) == pytest.approx((6 / 9 + 3 / 6) / 2)


def test_the_command_on_a_made_set(tmp_path, monkeypatch, capsys):
    """Read, train, read the channels, score, write; classes are told apart by their colour."""
    root = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(12):
        mask = np.zeros((64, 96), np.uint8)
        mask[10:50, 20:70] = 1 + i % 2
        image = rng.integers(0, 60, (64, 96, 3)) + 150 * (np.arange(3) == mask[..., None])
        mask[10] = 255
        Image.fromarray(image.astype(np.uint8)).save(root / f"JPEGImages/{i:02d}.jpg")
        Image.fromarray(mask).save(root / f"SegmentationClass/{i:02d}.png")
    lists = root / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("".join(f"{i:02d}\n" for i in range(8)))
    (lists / "val.txt").write_text("".join(f"{i:02d}\n" for i in range(8, 12)))
    monkeypatch.setitem(table_regions.BUDGETS["VOC 2012"], "epochs", 2)
    words = ["table", "5", "--small", "--seeds", "1", "--threads", "1", "--data",
             str(tmp_path / "data"), "--cache", str(tmp_path / "cache"),
             "--results", str(tmp_path / "out")]  # fmt: skip
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "12-image subset" in text
    assert "8 images to train on, 4 to score" in text
    assert "averaged over the 20 classes of objects" in text
    with (tmp_path / "out/table5-small.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert [row["network"] for row in rows] == ["small"] * 3 + [""]
    for row in rows[:3]:
        assert 0 < float(row["precision"]) <= 1
        assert 0 <= float(row["covering"]) <= 1
    kept = sorted((tmp_path / "cache/runs").glob("*/scores.json"))
    before = [file.read_text() for file in kept]
    _annotate_anew(root / "SegmentationClass/08.png")  # to be scored again
    assert main(words) == 0
    assert all(file.read_text() != had for file, had in zip(kept, before, strict=True))
    (root / "SegmentationClass/11.png").unlink()  # another subset is another set
    assert main(words) == 0
    assert "8 images to train on, 3 to score" in capsys.readouterr().out
    assert len(list((tmp_path / "cache/runs").iterdir())) == 6
    _annotate_anew(root / "SegmentationClass/00.png")  # learnt from
    assert main(words) == 2
    assert "was begun on other images" in capsys.readouterr().err


def _annotate_anew(path):
    Image.fromarray(np.where(np.asarray(Image.open(path)) == 0, 1, 0).astype(np.uint8)).save(path)
    os.utime(path, (1000, 1000))
