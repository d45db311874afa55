"""Table 6 and the choice of its reading, as commands on a made set."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

import training.table_regions as table_regions
from training import bench_textures, regions
from training.__main__ import main
from training.bench_textures import FOLDS, folds
from training.table_rwtd import READINGS, score


@pytest.fixture
def made(tiny_set, tmp_path, monkeypatch):
    """Eight images; return the options that every command needs."""
    tiny_set("rwtd", "images/{}.png", "masks/{}.png", count=8)
    monkeypatch.setattr(regions, "RWTD", replace(regions.RWTD, count=8))
    few = dict(list(bench_textures.READINGS.items())[:2])
    monkeypatch.setattr(bench_textures, "READINGS", few)
    monkeypatch.setattr(bench_textures, "FOLDS", 2)
    monkeypatch.setitem(
        table_regions.BUDGETS, "RWTD",
        {"train_set": "RWTD", "epochs": 1, "batch_size": 2, "validation_images": 4},
    )  # fmt: skip
    return ["--data", str(tmp_path / "data"), "--cache", str(tmp_path / "cache"),
            "--threads", "1", "--results", str(tmp_path / "out")]  # fmt: skip


def test_folds_are_apart_and_seeded():
    found = list(folds(10))
    assert len(found) == FOLDS
    assert sorted(np.concatenate([held for _, held in found])) == list(range(10))
    for rest, held in found:
        assert sorted([*rest, *held]) == list(range(10))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(found, folds(10), strict=True))


def test_scores_know_no_polarity():
    truth = np.ones((20, 20), np.intp)
    truth[:, 9:] = 2
    assert score([3 - truth], [truth]) == pytest.approx(
        {"contour": 1, "covering": 1, "rand": 1, "variation": 0}
    )
    y, x = np.mgrid[:20, :20]
    stairs = np.where(x + 3 * (y // 3) > 20, 2, 1)  # whose border is more than a pixel wide
    assert score([stairs], [stairs])["contour"] == 1
    worse = score([np.roll(truth, 5, 1), truth], [truth, truth])
    assert 0 < worse["contour"] < 1
    assert 0 < worse["covering"] < 1


@pytest.mark.slow
def test_choice_table_and_figure_by_their_commands(made, tmp_path, capsys):
    assert main(["bench", "textures", *made]) == 0
    with (tmp_path / "out/textures.csv").open() as opened:
        chosen = list(csv.DictReader(opened))
    assert all(0 < float(row["covering"]) <= 1 for row in chosen)
    # The command for the choice read training images only: no run has seen, or scored, the rest.
    runs = sorted(p.name for p in (tmp_path / "cache/runs").iterdir())
    assert len(runs) == 2 * 2
    assert all("-fold" in name for name in runs)
    assert main(["table", "6", "--small", "--seeds", "1", *made]) == 0
    with (tmp_path / "out/table6-small.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    assert [row["reading"] for row in rows[:-3]] == [*READINGS, *READINGS]
    assert all(0 < float(row["covering"]) <= 1 for row in rows[:-1])
    assert rows[-1]["method"].startswith("the paper's")
    assert main(["figure", "3", "--small", "--rows", "2", *made]) == 0
    assert (tmp_path / "out/figure3.png").stat().st_size > 5_000
    capsys.readouterr()
